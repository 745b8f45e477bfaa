#pragma once
// Lets AddressSanitizer report the use of recycled memory after its release; else does nothing.
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define IOCP_POISON_MEMORY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IOCP_POISON_MEMORY 1
#endif
#endif

#if defined(IOCP_POISON_MEMORY)
#include <sanitizer/asan_interface.h>
#endif

namespace iocp {

inline void poison_memory(const void* memory, size_t size) {
#if defined(IOCP_POISON_MEMORY)
  __asan_poison_memory_region(memory, size);
#else
  static_cast<void>(memory);
  static_cast<void>(size);
#endif
}

inline void unpoison_memory(const void* memory, size_t size) {
#if defined(IOCP_POISON_MEMORY)
  __asan_unpoison_memory_region(memory, size);
#else
  static_cast<void>(memory);
  static_cast<void>(size);
#endif
}

}  // namespace iocp
