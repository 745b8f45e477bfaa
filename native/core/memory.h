#pragma once
// Memory for what can go on without: buffers, contexts, packets that are being gathered.
#include <cstddef>
#include <cstdlib>

namespace iocp {

#ifdef IOCP_FAULT_SEAM
// Test builds: null when the rule of the call `memory` says so (win/sys/fault_memory.cc).
void* allocate_or_fail(size_t size);
#endif

// Null when there is none; the caller has an answer to that. For std::free().
inline void* try_allocate(size_t size) {
#ifdef IOCP_FAULT_SEAM
  return allocate_or_fail(size);
#else
  return std::malloc(size);
#endif
}

}  // namespace iocp
