#pragma once
// Unused blocks of memory, without a lock. Any thread.
//
// Each block stands in a place, and is left and taken by one exchange, so that no thread ever looks into a block that
// another one may have. The first places are tried first: what was left last is taken first, more or less.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace iocp {

// Of static duration: then it is empty before anything runs.
class BlockShelf {
 public:
  static constexpr size_t kPlaces = 64;

  // Null when there is none.
  void* take() {
    for (std::atomic<void*>& place : places_) {
      if (void* block = take_from(place)) return block;
    }
    return nullptr;
  }
  // From the places that are needed least.
  void* take_last() {
    for (size_t i = kPlaces; i-- != 0;) {
      if (void* block = take_from(places_[i])) return block;
    }
    return nullptr;
  }
  // False when there is no room.
  bool leave(void* block) {
    for (std::atomic<void*>& place : places_) {
      void* empty = nullptr;
      if (place.load(std::memory_order_relaxed) == nullptr && place.compare_exchange_strong(empty, block)) return true;
    }
    return false;
  }

 private:
  // Sequentially consistent: an owner that gives up its shelf may order that against what is left there.
  static void* take_from(std::atomic<void*>& place) {
    return place.load() == nullptr ? nullptr : place.exchange(nullptr);
  }

  std::atomic<void*> places_[kPlaces] = {};
};

}  // namespace iocp
