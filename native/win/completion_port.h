#pragma once
#include "win/handles.h"
#include "win/win.h"

namespace iocp {

class CompletionPort {
 public:
  // `threads`: how many may run at once (the port's concurrency value).
  bool create(DWORD threads) {
    port_ = UniqueHandle(CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, threads));
    return static_cast<bool>(port_);
  }
  bool associate(HANDLE handle) const {
    return CreateIoCompletionPort(handle, port_.get(), kOperationKey, 0) == port_.get();
  }
  bool post(OVERLAPPED* operation) const {
    return PostQueuedCompletionStatus(port_.get(), 0, kOperationKey, operation) != FALSE;
  }
  bool post_quit() const {
    return PostQueuedCompletionStatus(port_.get(), 0, kQuitKey, nullptr) != FALSE;
  }
  // TRUE says only that packets were dequeued: each one has a status of its own.
  bool wait(OVERLAPPED_ENTRY* entries, ULONG capacity, ULONG* count, DWORD timeout_ms) const {
    return GetQueuedCompletionStatusEx(port_.get(), entries, capacity, count, timeout_ms, FALSE) !=
           FALSE;
  }

  static constexpr ULONG_PTR kOperationKey = 0;
  static constexpr ULONG_PTR kQuitKey = 1;

 private:
  UniqueHandle port_;
};

}  // namespace iocp
