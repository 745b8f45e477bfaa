// Test builds only (IOCP_FAULT_SEAM): new memory is full of a pattern, so that what is used before it was set shows
// itself at once instead of being, mostly, what a predecessor left there.
#ifdef IOCP_FAULT_SEAM
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "core/memory.h"
#include "win/sys/fault_seam.h"

namespace {

// As a pointer or a handle it is none, as a size it is absurd.
constexpr int kPattern = 0xA5;

void* patterned(std::size_t size) noexcept {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory != nullptr) std::memset(memory, kPattern, size);
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  void* memory = patterned(size);
  if (memory == nullptr) std::terminate();
  return memory;
}

void* operator new[](std::size_t size) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return patterned(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return patterned(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

namespace iocp {

void* allocate_or_fail(size_t size) { return fault::passes(fault::Call::memory) ? patterned(size) : nullptr; }

}  // namespace iocp

#endif  // IOCP_FAULT_SEAM
