#pragma once
// Accepts the peers of a listener with SO_CONDITIONAL_ACCEPT: whether the handshake is completed is decided with the
// peer's address, by WSAAccept and its condition function. There is no AcceptEx for that, and no packet by the port;
// so this has a thread of its own, which sleeps on an event while nobody wants to connect.
#include <cstdint>

#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {

class Listener;

// A part of its listener. From begin() on the thread has a count on it, which it gives back at its end.
class ConditionalAcceptor final {
 public:
  explicit ConditionalAcceptor(Listener* listener) : listener_(listener) {}
  ConditionalAcceptor(const ConditionalAcceptor&) = delete;
  ConditionalAcceptor& operator=(const ConditionalAcceptor&) = delete;
  ~ConditionalAcceptor() { join(); }

  // JavaScript thread. 0, or the number and in *syscall the call that failed. The thread waits for begin().
  uint32_t open(SOCKET listening, const char** syscall);
  void begin() { wake(); }
  // Any thread: the listener closes, or a place is free.
  void wake() { SetEvent(wake_.get()); }
  // Behind the last count of the listener.
  void join();

 private:
  enum class Next : uint8_t { at_once, when_somebody_comes, when_woken };

  static unsigned __stdcall entry(void* self);
  void run();
  Next accept_one(DWORD* pause_ms);
  Next failed(uint32_t error, DWORD* pause_ms);

  Listener* const listener_;
  UniqueHandle coming_;  // somebody wants to connect; resets itself, as wake_
  UniqueHandle wake_;
  UniqueHandle thread_;
  bool has_place_ = false;  // the thread's: of the connection that comes next, where a full listener stops accepting
};

}  // namespace iocp
