#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace bench {

// In mode broadcast a packet goes to all connections; shorter ones are echoed, so that clients can ask.
constexpr size_t kBroadcastFrom = 16;

struct ServerOptions {
  bool broadcast = false;
  uint32_t max_packet = 1024 * 1024;
  const char* file = nullptr;  // any packet asks for it
  uint32_t threads = 1;        // 1 to 64
};

inline ServerOptions read_options(int count, char** words) {
  ServerOptions options;
  for (int i = 1; i + 1 < count; i += 2) {
    if (std::strcmp(words[i], "--mode") == 0) {
      options.broadcast = std::strcmp(words[i + 1], "broadcast") == 0;
    } else if (std::strcmp(words[i], "--file") == 0) {
      options.file = words[i + 1];
    } else if (std::strcmp(words[i], "--max-packet") == 0) {
      options.max_packet = static_cast<uint32_t>(std::strtoul(words[i + 1], nullptr, 10));
    } else if (std::strcmp(words[i], "--threads") == 0) {
      options.threads = static_cast<uint32_t>(std::strtoul(words[i + 1], nullptr, 10));
    }
  }
  return options;
}

}  // namespace bench
