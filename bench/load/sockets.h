#pragma once
// The few socket calls of the load generator, on Linux and on Windows.
#include <cstddef>
#include <cstdint>

namespace bench {

using Socket = intptr_t;
constexpr Socket kNoSocket = -1;

enum class Outcome : uint8_t { done, would_block, refused, failed };

struct Transfer {
  Outcome outcome;
  size_t bytes;  // with `done`; 0 from receive: the peer has ended
};

void start_sockets();
// A non-blocking connect to 127.0.0.1; `would_block` while it is under way.
Outcome start_connect(uint16_t port, Socket* out);
// How it went, once the socket is writable.
Outcome connect_outcome(Socket socket);
Transfer receive(Socket socket, uint8_t* data, size_t size);
Transfer send(Socket socket, const uint8_t* data, size_t size);
// Closes with a reset, so that no port is blocked for a while.
void close_hard(Socket socket);

}  // namespace bench
