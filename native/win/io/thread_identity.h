#pragma once
// Which I/O thread of which engine runs. Asked for each event that is counted, so it is a look into a slot of the
// thread, not a search.
#include <cstddef>

#include "win/sys/fault_seam.h"
#include "win/sys/win.h"

namespace iocp {

class IoContext;

class ThreadIdentity final {
 public:
  // Once per process, before the first I/O thread; the slot stays, like the addon. False when there is none left.
  static bool prepare() {
    IOCP_FAULT_POINT_OR(thread_slot, false);
    return slot() != TLS_OUT_OF_INDEXES;
  }

  // On the stack of an I/O thread, for as long as it runs. Threads are numbered from 1.
  ThreadIdentity(const IoContext* io, size_t number) : io_(io), number_(number) { (void)TlsSetValue(slot(), this); }
  ~ThreadIdentity() { (void)TlsSetValue(slot(), nullptr); }
  ThreadIdentity(const ThreadIdentity&) = delete;
  ThreadIdentity& operator=(const ThreadIdentity&) = delete;

  // Number of the running thread, 0 when it is none of `io`. Overwrites the thread's last error, as TlsGetValue
  // does.
  static size_t number_of(const IoContext* io) {
    const auto* self = static_cast<const ThreadIdentity*>(TlsGetValue(slot()));
    return self != nullptr && self->io_ == io ? self->number_ : 0;
  }

 private:
  static DWORD slot() {
    static const DWORD index = TlsAlloc();
    return index;
  }

  const IoContext* const io_;
  const size_t number_;
};

}  // namespace iocp
