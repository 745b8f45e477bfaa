#pragma once
// Waits for sockets: epoll on Linux, WSAPoll on Windows (which costs more the more connections there are).
#include <cstddef>
#include <cstdint>
#include <memory>

#include "load/sockets.h"

namespace bench {

struct Ready {
  uint32_t tag;
  bool readable;  // or it has failed
  bool writable;
};

class Poller {
 public:
  static constexpr size_t kMost = 256;
  Poller();
  ~Poller();
  void add(Socket socket, uint32_t tag, bool want_write);
  void change(Socket socket, uint32_t tag, bool want_write);
  void remove(Socket socket, uint32_t tag);
  // Waits until something is ready or the time has come. Returns how many of `ready` are filled.
  size_t wait(Ready (&ready)[kMost], uint64_t until_ns);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace bench
