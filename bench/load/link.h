#pragma once
// One connection of the load.
#include <cstdint>
#include <vector>

#include "load/content.h"
#include "load/sockets.h"

namespace bench {

struct Message {
  uint32_t size;
  uint32_t sender;
  uint32_t number;
};

struct Link {
  enum class State : uint8_t { closed, connecting, greeting, open };

  Socket socket = kNoSocket;
  uint32_t index = 0;
  State state = State::closed;
  bool wants_write = false;
  uint64_t began_ns = 0;

  // Out: numbers of messages, and bytes that the system has not taken yet.
  uint32_t sent = 0;
  std::vector<uint8_t> out;
  size_t out_from = 0;
  std::vector<uint64_t> sent_ns;  // by number, as a ring

  // In: the message that has to come next and how much of it has come.
  Message expected{};
  uint32_t received = 0;
  uint32_t header_got = 0;
  uint8_t header[kHeader] = {};
  size_t payload_got = 0;

  void append(const Content& content, const Message& message) {
    if (out_from == out.size()) {
      out.clear();
      out_from = 0;
    }
    const size_t at = out.size();
    out.resize(at + kHeader + message.size);
    content.write(out.data() + at, message.size, message.sender, message.number);
  }
  uint64_t& sent_at(uint32_t number) { return sent_ns[number & (sent_ns.size() - 1)]; }
};

}  // namespace bench
