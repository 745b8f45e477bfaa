#pragma once
// Which I/O thread of which engine runs. Asked for each event that is counted, so it is a look into a slot of the
// thread, not a search.
#include <cstddef>

#include "win/win.h"

namespace iocp {

class Engine;

class ThreadIdentity final {
 public:
  // Once per process, before the first I/O thread; the slot stays, like the addon. False when there is none left.
  static bool prepare() { return slot() != TLS_OUT_OF_INDEXES; }

  // On the stack of an I/O thread, for as long as it runs. Threads are numbered from 1.
  ThreadIdentity(const Engine* engine, size_t number) : engine_(engine), number_(number) {
    (void)TlsSetValue(slot(), this);
  }
  ~ThreadIdentity() { (void)TlsSetValue(slot(), nullptr); }
  ThreadIdentity(const ThreadIdentity&) = delete;
  ThreadIdentity& operator=(const ThreadIdentity&) = delete;

  // Number of the running thread, 0 when it is none of `engine`. Overwrites the thread's last error, as TlsGetValue
  // does.
  static size_t number_of(const Engine* engine) {
    const auto* self = static_cast<const ThreadIdentity*>(TlsGetValue(slot()));
    return self != nullptr && self->engine_ == engine ? self->number_ : 0;
  }

 private:
  static DWORD slot() {
    static const DWORD index = TlsAlloc();
    return index;
  }

  const Engine* const engine_;
  const size_t number_;
};

}  // namespace iocp
