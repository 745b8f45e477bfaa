#pragma once
// Recycles blocks of memory of one size: what read buffers and connection contexts have in common.
//
// Any thread. The block released last is handed out first, because it is still in the cache. Memory
// goes back to the system by trim() and by decay(), which a timer calls.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>

#include "core/memory.h"
#include "core/poison.h"

namespace iocp {

struct PoolStats {
  uint64_t in_use;
  uint64_t free;
  uint64_t peak;         // most in use at once
  uint64_t allocations;  // blocks taken from the system; the rest of the acquires were recycled
};

// Mutex: lock, unlock.
template <class Mutex>
class BlockPool {
 public:
  static constexpr int64_t kKeepAll = 0;
  static constexpr int64_t kKeepNone = -1;

  // `max_free`: how many unused blocks are kept at most; 0 means no limit, negative means none.
  BlockPool(size_t block_size, int64_t max_free)
      : block_size_(block_size < sizeof(Link) ? sizeof(Link) : block_size),
        max_free_(max_free < 0           ? 0
                  : max_free == kKeepAll ? UINT64_MAX
                                         : static_cast<uint64_t>(max_free)) {}
  // All blocks have been released before.
  ~BlockPool() { trim(0); }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  size_t block_size() const { return block_size_; }

  // Null when there is no memory.
  void* acquire() {
    {
      std::lock_guard<Mutex> guard(mutex_);
      if (Link* block = pop()) {
        count_use();
        return block;
      }
    }
    void* block = try_allocate(block_size_);
    if (block == nullptr) return nullptr;
    std::lock_guard<Mutex> guard(mutex_);
    ++stats_.allocations;
    count_use();
    return block;
  }

  void release(void* block) {
    {
      std::lock_guard<Mutex> guard(mutex_);
      --stats_.in_use;
      if (stats_.free < max_free_) {
        push(block);
        return;
      }
    }
    std::free(block);
  }

  // Frees all unused blocks but `keep`.
  void trim(uint64_t keep) {
    Link* surplus = nullptr;
    {
      std::lock_guard<Mutex> guard(mutex_);
      surplus = cut(keep);
    }
    free_all(surplus);
  }

  // Called once per period by a timer: frees the blocks that were not needed at any moment since
  // the call before, so that memory follows a peak down and a steady load allocates nothing.
  void decay() {
    Link* surplus = nullptr;
    {
      std::lock_guard<Mutex> guard(mutex_);
      surplus = cut(stats_.free - least_free_);
      least_free_ = stats_.free;
    }
    free_all(surplus);
  }

  PoolStats stats() const {
    std::lock_guard<Mutex> guard(mutex_);
    return stats_;
  }

 private:
  struct Link {
    Link* next;
  };

  void count_use() {
    if (++stats_.in_use > stats_.peak) stats_.peak = stats_.in_use;
  }
  void push(void* memory) {
    Link* block = static_cast<Link*>(memory);
    block->next = first_;
    first_ = block;
    ++stats_.free;
    poison_memory(block + 1, block_size_ - sizeof(Link));
  }
  Link* pop() {
    Link* block = first_;
    if (block == nullptr) return nullptr;
    unpoison_memory(block + 1, block_size_ - sizeof(Link));
    first_ = block->next;
    --stats_.free;
    if (stats_.free < least_free_) least_free_ = stats_.free;
    return block;
  }
  // A chain of the unused blocks but the `keep` that were released last.
  Link* cut(uint64_t keep) {
    Link** end = &first_;
    for (uint64_t i = 0; i < keep && *end != nullptr; ++i) end = &(*end)->next;
    Link* surplus = *end;
    *end = nullptr;
    if (stats_.free > keep) stats_.free = keep;
    if (least_free_ > stats_.free) least_free_ = stats_.free;
    return surplus;
  }
  void free_all(Link* block) {
    while (block != nullptr) {
      Link* next = block->next;
      unpoison_memory(block + 1, block_size_ - sizeof(Link));
      std::free(block);
      block = next;
    }
  }

  const size_t block_size_;
  const uint64_t max_free_;
  mutable Mutex mutex_;
  Link* first_ = nullptr;
  uint64_t least_free_ = 0;  // since the last decay()
  PoolStats stats_{0, 0, 0, 0};
};

}  // namespace iocp
