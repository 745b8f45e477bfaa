#pragma once
// Unused blocks of memory, without a lock. Any thread.
//
// Each block is in a slot, and is put and taken by one exchange, so that no thread ever looks into a block that
// another one may have. The first slots are tried first: what was put last is taken first, more or less.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace iocp {

// Of static duration: then it is empty before anything runs.
class BlockCache {
 public:
  static constexpr size_t kSlots = 64;

  // Null when there is none.
  void* take() {
    for (std::atomic<void*>& slot : slots_) {
      if (void* block = take_from(slot)) return block;
    }
    return nullptr;
  }
  // From the slots that are needed least.
  void* take_oldest() {
    for (size_t i = kSlots; i-- != 0;) {
      if (void* block = take_from(slots_[i])) return block;
    }
    return nullptr;
  }
  // False when there is no room.
  bool put(void* block) {
    for (std::atomic<void*>& slot : slots_) {
      void* empty = nullptr;
      if (slot.load(std::memory_order_relaxed) == nullptr && slot.compare_exchange_strong(empty, block)) return true;
    }
    return false;
  }

 private:
  // Sequentially consistent: an owner that gives up its cache may order that against what is put there.
  static void* take_from(std::atomic<void*>& slot) { return slot.load() == nullptr ? nullptr : slot.exchange(nullptr); }

  std::atomic<void*> slots_[kSlots] = {};
};

}  // namespace iocp
