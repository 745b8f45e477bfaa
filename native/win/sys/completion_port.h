#pragma once
#include "win/sys/fault_seam.h"
#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {

class CompletionPort {
 public:
  // Lets as many threads run at once as there are processors. Others that wait at the port step in when
  // one of them has to wait for something else.
  bool create() {
    IOCP_FAULT_POINT_OR(create_port, false);
    constexpr DWORD as_many_as_processors = 0;
    port_ = UniqueHandle(CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, as_many_as_processors));
    return static_cast<bool>(port_);
  }
  bool associate(HANDLE handle) const {
    return CreateIoCompletionPort(handle, port_.get(), kOperationKey, 0) == port_.get();
  }
  bool post(OVERLAPPED* operation) const {
    return PostQueuedCompletionStatus(port_.get(), 0, kOperationKey, operation) != FALSE;
  }
  bool post_quit() const {
    IOCP_FAULT_POINT_OR(post_quit, false);
    return PostQueuedCompletionStatus(port_.get(), 0, kQuitKey, nullptr) != FALSE;
  }
  // 0 says only that packets were dequeued: each one has a status of its own. Else WAIT_TIMEOUT or another number.
  uint32_t wait(OVERLAPPED_ENTRY* entries, ULONG capacity, ULONG* count, DWORD timeout_ms) const {
    IOCP_FAULT_POINT(wait);
    const BOOL ok = GetQueuedCompletionStatusEx(port_.get(), entries, capacity, count, timeout_ms, FALSE);
    return ok ? 0 : GetLastError();
  }

  static constexpr ULONG_PTR kOperationKey = 0;
  static constexpr ULONG_PTR kQuitKey = 1;

 private:
  UniqueHandle port_;
};

}  // namespace iocp
