#include "core/payload_memory.h"

#include <atomic>
#include <cstdlib>

#include "core/poison.h"

namespace iocp {
namespace {

// Sizes double. Each is a bit more than a power of two: packets of such sizes are common, and have a header.
constexpr size_t kSizes = 7;
constexpr size_t kExtra = 1024;
constexpr size_t kNotRecycled = kSizes;
static_assert(PayloadMemory::kSmallest << (kSizes - 1) == PayloadMemory::kLargest, "one for each doubling");

constexpr size_t size_of(size_t index) { return (PayloadMemory::kSmallest << index) + kExtra; }

// Stands before the bytes, which are aligned like any block of malloc.
struct alignas(16) Header {
  size_t index;
};

// Unused blocks of one size. Each stands in a place, and is left and taken by one exchange, so that no thread ever
// looks into a block that another one may have.
struct Shelf {
  static constexpr size_t kPlaces = 64;
  std::atomic<Header*> places[kPlaces];
  std::atomic<uint32_t> unused;
  std::atomic<uint32_t> least;  // of `unused`, since the last decay(); a guess when threads meet
};

// Of static duration, so all of them are 0 before the first call.
Shelf shelves[kSizes];
std::atomic<size_t> bytes_unused;
std::atomic<uint32_t> users;

size_t index_of(size_t size) {
  if (size < PayloadMemory::kSmallest) return kNotRecycled;
  size_t index = 0;
  while (index < kSizes && size_of(index) < size) ++index;
  return index;
}

Header* take_from(std::atomic<Header*>& place, Shelf& shelf) {
  if (place.load() == nullptr) return nullptr;  // in the order of `users` too, see free()
  Header* const header = place.exchange(nullptr);
  if (header == nullptr) return nullptr;
  unpoison_memory(header + 1, size_of(header->index));
  bytes_unused.fetch_sub(size_of(header->index), std::memory_order_relaxed);
  const uint32_t left = shelf.unused.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (left < shelf.least.load(std::memory_order_relaxed)) shelf.least.store(left, std::memory_order_relaxed);
  return header;
}

// The block that was left first in the first places is the one that was used last, more or less.
Header* take(Shelf& shelf) {
  for (std::atomic<Header*>& place : shelf.places) {
    if (Header* header = take_from(place, shelf)) return header;
  }
  return nullptr;
}

bool leave(Header* header) {
  Shelf& shelf = shelves[header->index];
  const size_t size = size_of(header->index);
  if (bytes_unused.fetch_add(size, std::memory_order_relaxed) + size <= PayloadMemory::kMaxUnused) {
    shelf.unused.fetch_add(1, std::memory_order_relaxed);
    poison_memory(header + 1, size);
    for (std::atomic<Header*>& place : shelf.places) {
      Header* empty = nullptr;
      if (place.load(std::memory_order_relaxed) == nullptr && place.compare_exchange_strong(empty, header)) return true;
    }
    unpoison_memory(header + 1, size);
    shelf.unused.fetch_sub(1, std::memory_order_relaxed);
  }
  bytes_unused.fetch_sub(size, std::memory_order_relaxed);
  return false;
}

// From the last places on, which are needed least.
void give_back(Shelf& shelf, uint32_t most) {
  for (size_t i = Shelf::kPlaces; i-- != 0 && most != 0;) {
    if (Header* header = take_from(shelf.places[i], shelf)) {
      std::free(header);
      --most;
    }
  }
}

void give_all_back() {
  for (Shelf& shelf : shelves) give_back(shelf, Shelf::kPlaces);
}

}  // namespace

PayloadMemory::User::User(bool keeps) : keeps_(keeps) {
  if (keeps_) users.fetch_add(1);
}

PayloadMemory::User::~User() {
  if (keeps_ && users.fetch_sub(1) == 1) give_all_back();
}

uint8_t* PayloadMemory::allocate(size_t size, size_t* capacity) {
  const size_t index = index_of(size);
  Header* header = index == kNotRecycled ? nullptr : take(shelves[index]);
  if (index != kNotRecycled) size = size_of(index);
  if (header == nullptr) {
    header = static_cast<Header*>(std::malloc(sizeof(Header) + size));
    if (header == nullptr) return nullptr;
    header->index = index;
  }
  *capacity = size;
  return reinterpret_cast<uint8_t*>(header + 1);
}

void PayloadMemory::free(uint8_t* block) {
  if (block == nullptr) return;
  Header* const header = reinterpret_cast<Header*>(block) - 1;
  if (header->index == kNotRecycled || users.load() == 0 || !leave(header)) return std::free(header);
  // The last user may have gone meanwhile: sequentially consistent, so either it has seen the block or this sees that.
  if (users.load() == 0) give_all_back();
}

void PayloadMemory::decay() {
  for (Shelf& shelf : shelves) {
    give_back(shelf, shelf.least.load(std::memory_order_relaxed));
    shelf.least.store(shelf.unused.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

size_t PayloadMemory::unused_bytes() { return bytes_unused.load(std::memory_order_relaxed); }

}  // namespace iocp
