#pragma once
#include <cstdint>
#include <string>

namespace bench {

enum class Scenario : uint8_t { echo, connect, hold, broadcast };

// Times in seconds.
struct Options {
  Scenario scenario = Scenario::echo;
  uint16_t port = 0;
  uint32_t connections = 50;
  uint32_t size = 64;    // bytes of a payload, 16 or more
  uint32_t depth = 1;    // messages that a connection has under way
  uint32_t window = 64;  // connections that are being made at one time
  uint32_t first = 0;    // scenario hold: so many, then wait, then the others
  double rate = 0;       // messages per second, at even intervals; 0: as fast as replies come
  double warm_up = 0.5;
  double seconds = 3;
  double limit = 120;  // after so long the run has failed
};

// False when the words make no sense; *problem says why.
bool read_options(int count, char** words, Options* options, std::string* problem);

}  // namespace bench
