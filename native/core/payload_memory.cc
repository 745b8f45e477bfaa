#include "core/payload_memory.h"

#include <atomic>
#include <cstdlib>

#include "core/block_cache.h"
#include "core/memory.h"
#include "core/poison.h"

namespace iocp {
namespace {

// Four sizes for each doubling, so that at most a fifth of a block is not asked for. Each is a bit more than the even
// number: packets of such sizes are common, and have a header.
constexpr size_t kSteps = 4;
constexpr size_t kSizes = 6 * kSteps + 1;
constexpr size_t kNotRecycled = kSizes;

constexpr size_t size_of(size_t index) {
  return ((PayloadMemory::kSmallest + 1024) / kSteps * (kSteps + index % kSteps)) << (index / kSteps);
}
static_assert(size_of(0) == PayloadMemory::kSmallest + 1024, "the first size");
static_assert(size_of(kSizes - 1) == PayloadMemory::kLargest / 64 * 65, "the last size");

// Stands before the bytes, which are aligned like any block of malloc.
struct Header {
  size_t index;
  uint8_t padding[16 - sizeof(size_t)];
};
static_assert(sizeof(Header) == 16, "keeps the alignment");

struct Size {
  BlockCache blocks;
  std::atomic<uint32_t> unused;
  std::atomic<uint32_t> least;  // of `unused`, since the last decay(); a guess when threads meet
};

// Of static duration: all of it is 0 before the first call.
Size sizes[kSizes];
std::atomic<size_t> bytes_unused;
std::atomic<uint32_t> users;
std::atomic<uint64_t> next_decay_ms;

size_t index_of(size_t size) {
  if (size < PayloadMemory::kSmallest || users.load(std::memory_order_relaxed) == 0) return kNotRecycled;
  size_t index = 0;
  while (index < kSizes && size_of(index) < size) ++index;
  return index;
}

Header* taken(void* block, Size& size) {
  if (block == nullptr) return nullptr;
  Header* const header = static_cast<Header*>(block);
  unpoison_memory(header + 1, size_of(header->index));
  bytes_unused.fetch_sub(size_of(header->index), std::memory_order_relaxed);
  const uint32_t left = size.unused.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (left < size.least.load(std::memory_order_relaxed)) size.least.store(left, std::memory_order_relaxed);
  return header;
}

bool leave(Header* header) {
  Size& size = sizes[header->index];
  const size_t bytes = size_of(header->index);
  if (bytes_unused.fetch_add(bytes, std::memory_order_relaxed) + bytes <= PayloadMemory::kMaxUnused) {
    size.unused.fetch_add(1, std::memory_order_relaxed);
    poison_memory(header + 1, bytes);
    if (size.blocks.put(header)) return true;
    unpoison_memory(header + 1, bytes);
    size.unused.fetch_sub(1, std::memory_order_relaxed);
  }
  bytes_unused.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

void give_back(Size& size, uint32_t most) {
  for (; most != 0; --most) {
    Header* header = taken(size.blocks.take_oldest(), size);
    if (header == nullptr) return;
    std::free(header);
  }
}

void give_all_back() {
  for (Size& size : sizes) give_back(size, UINT32_MAX);
}

}  // namespace

PayloadMemory::Lease::Lease(bool keeps) : keeps_(keeps) {
  if (keeps_) users.fetch_add(1);
}

PayloadMemory::Lease::~Lease() {
  if (keeps_ && users.fetch_sub(1) == 1) give_all_back();
}

namespace {

template <class Allocate>
uint8_t* block_of(size_t size, size_t* capacity, Allocate&& from_system) {
  const size_t index = index_of(size);
  Header* header = nullptr;
  if (index != kNotRecycled) {
    size = size_of(index);
    header = taken(sizes[index].blocks.take(), sizes[index]);
  }
  if (header == nullptr) {
    header = static_cast<Header*>(from_system(sizeof(Header) + size));
    if (header == nullptr) return nullptr;
    header->index = index;
  }
  *capacity = size;
  return reinterpret_cast<uint8_t*>(header + 1);
}

}  // namespace

uint8_t* PayloadMemory::allocate(size_t size, size_t* capacity) {
  return block_of(size, capacity, [](size_t bytes) { return try_allocate(bytes); });
}

uint8_t* PayloadMemory::need(size_t size, size_t* capacity) {
  uint8_t* const block = block_of(size, capacity, [](size_t bytes) { return std::malloc(bytes); });
  if (block == nullptr) std::abort();
  return block;
}

void PayloadMemory::free(uint8_t* block) {
  if (block == nullptr) return;
  Header* const header = reinterpret_cast<Header*>(block) - 1;
  if (header->index == kNotRecycled || users.load() == 0 || !leave(header)) return std::free(header);
  // The last user may have gone meanwhile: sequentially consistent, so either it has seen the block or this sees that.
  if (users.load() == 0) give_all_back();
}

void PayloadMemory::decay(uint64_t now_ms) {
  uint64_t due = next_decay_ms.load(std::memory_order_relaxed);
  if (now_ms < due || !next_decay_ms.compare_exchange_strong(due, now_ms + kPeriodMs)) return;
  for (Size& size : sizes) {
    give_back(size, size.least.load(std::memory_order_relaxed));
    size.least.store(size.unused.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

size_t PayloadMemory::unused_bytes() { return bytes_unused.load(std::memory_order_relaxed); }

}  // namespace iocp
