#pragma once
// Recycles the memory of objects of one type, such as connection contexts.
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "core/block_pool.h"

namespace iocp {

// Any thread; outlives its objects. Only memory is recycled: every object is constructed anew, so
// nothing of the connection before can show through.
template <class T, class Mutex>
class FreeList {
 public:
  // `max_free` as in BlockPool: 0 keeps all unused blocks, -1 keeps none.
  explicit FreeList(int64_t max_free) : blocks_(sizeof(T), max_free) {}

  // Null when there is no memory.
  template <class... Args>
  T* create(Args&&... args) {
    void* memory = blocks_.acquire();
    return memory == nullptr ? nullptr : new (memory) T(std::forward<Args>(args)...);
  }
  void destroy(T* object) {
    object->~T();
    blocks_.release(object);
  }

  void trim(uint64_t keep) { blocks_.trim(keep); }
  void decay() { blocks_.decay(); }
  PoolStats stats() const { return blocks_.stats(); }

 private:
  static_assert(alignof(T) <= alignof(std::max_align_t), "blocks come from malloc");

  BlockPool<Mutex> blocks_;
};

}  // namespace iocp
