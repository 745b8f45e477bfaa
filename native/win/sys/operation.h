#pragma once
// An operation IS an OVERLAPPED plus the function that its packet is given to.
#include <cstdint>

#include "win/sys/win.h"

namespace iocp {

// Whoever issues an operation holds a count on its owner for it. The memory belongs to the kernel from
// the call that issues it until its packet has been taken from the port (or the call has failed at
// once, or has succeeded at once on a handle that skips the port). TransmitOperation knows an exception.
class Operation : public OVERLAPPED {
 public:
  // Runs on the I/O thread that dequeued the packet. `error` is 0 or a Winsock/Win32 number.
  using Completion = void (*)(Operation* self, uint32_t error, uint32_t bytes);

  void complete(uint32_t error, uint32_t bytes) { completion_(this, error, bytes); }

  // Before every use: the kernel reads the offset and the event, and posted packets their status.
  OVERLAPPED* prepare() {
    Internal = 0;
    InternalHigh = 0;
    Offset = 0;
    OffsetHigh = 0;
    hEvent = nullptr;
    return this;
  }

  // The same for a file, where the kernel reads the offset.
  OVERLAPPED* prepare_at(uint64_t offset) {
    prepare();
    Offset = static_cast<DWORD>(offset);
    OffsetHigh = static_cast<DWORD>(offset >> 32);
    return this;
  }

  // Link in the list of packets that could not be posted (Engine::post).
  Operation* next_unposted = nullptr;

 protected:
  explicit Operation(Completion completion) : OVERLAPPED{}, completion_(completion) {}
  ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

 private:
  Completion completion_;
};

// A packet that carries no I/O, only the wish that an I/O thread runs something.
template <class Owner, void (Owner::*method)()>
class PostedOperation final : public Operation {
 public:
  explicit PostedOperation(Owner* owner) : Operation(&run), owner_(owner) {}

 private:
  static void run(Operation* self, uint32_t, uint32_t) {
    Owner* owner = static_cast<PostedOperation*>(self)->owner_;
    (owner->*method)();
  }
  Owner* owner_;
};

}  // namespace iocp
