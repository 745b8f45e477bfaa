#pragma once
// From a connection's id to the connection, safely: a stale id finds nothing.
//
// Any thread. The map does not own what it points to; whoever erases an entry may free the object
// after erase() has returned, because no with() or for_each() can still be inside it then.
// Lock order: the map's lock comes before that of an entry. So callbacks may lock the entry, and
// insert() and erase() must not be called with an entry's lock held. Callbacks never call the map.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "core/connection_id.h"
#include "core/slot_blocks.h"

namespace iocp {

// Mutex: lock, unlock, lock_shared, unlock_shared.
template <class T, class Mutex>
class SlotMap {
 public:
  explicit SlotMap(SlotBlocks& blocks = process_slot_blocks()) : blocks_(blocks) {}
  ~SlotMap();
  SlotMap(const SlotMap&) = delete;
  SlotMap& operator=(const SlotMap&) = delete;

  // An id that is not valid() when the process has no slot left.
  ConnectionId insert(T* value) {
    return insert(value, [](ConnectionId) {});
  }
  // Calls named(id) before anybody can find the entry.
  template <class F>
  ConnectionId insert(T* value, F&& named);
  // False when the id is stale.
  bool erase(ConnectionId id);

  // Calls f(T&) when the id is current; the entry cannot be erased meanwhile.
  template <class F>
  bool with(ConnectionId id, F&& f) {
    std::shared_lock<Mutex> guard(mutex_);
    Entry* entry = find(id);
    if (entry == nullptr) return false;
    std::forward<F>(f)(*entry->value);
    return true;
  }

  // Calls f(ConnectionId, T&) for all entries. The lock is let go after each segment: what is there
  // during the whole walk is visited once, what comes or goes meanwhile once or not at all.
  template <class F>
  void for_each(F&& f) {
    for (size_t i = 0;; ++i) {
      std::shared_lock<Mutex> guard(mutex_);
      if (i >= in_use_.size()) return;
      const uint32_t segment = in_use_[i];
      Entry* entries = segments_[segment]->entries;
      for (uint32_t index = 0; index < kSegmentSlots; ++index) {
        if (entries[index].value == nullptr) continue;
        f(ConnectionId{(segment << kSegmentBits) | index, entries[index].generation}, *entries[index].value);
      }
    }
  }

  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    T* value;
    uint32_t generation;  // of the current use, or of the next while free; 0: no generation left
    uint32_t next_free;
  };
  struct Segment {
    Entry entries[kSegmentSlots];
  };
  static constexpr uint32_t kNoSlot = 0xFFFFFFFFu;

  Entry& entry_at(uint32_t slot) { return segments_[slot >> kSegmentBits]->entries[slot & (kSegmentSlots - 1)]; }
  Entry* find(ConnectionId id) {
    if (!id.valid() || id.segment() >= segments_.size()) return nullptr;
    if (segments_[id.segment()] == nullptr) return nullptr;
    Entry& entry = entry_at(id.slot);
    return entry.value != nullptr && entry.generation == id.generation ? &entry : nullptr;
  }
  void push_free(uint32_t slot);
  bool add_segment();

  Mutex mutex_;
  std::vector<std::unique_ptr<Segment>> segments_;  // by segment number; null: another map's
  std::vector<uint32_t> in_use_;                    // numbers of this map's segments
  // Freed slots wait as long as possible before they are used again.
  uint32_t first_free_ = kNoSlot;
  uint32_t last_free_ = kNoSlot;
  std::atomic<size_t> size_{0};
  SlotBlocks& blocks_;
};

template <class T, class Mutex>
SlotMap<T, Mutex>::~SlotMap() {
  for (uint32_t segment : in_use_) {
    uint64_t next = 1;
    for (const Entry& entry : segments_[segment]->entries) {
      uint64_t after = entry.generation == 0 ? 1ull << 32 : entry.generation;
      if (entry.value != nullptr) ++after;
      if (after > next) next = after;
    }
    blocks_.give_back(segment, next);
  }
}

template <class T, class Mutex>
template <class F>
ConnectionId SlotMap<T, Mutex>::insert(T* value, F&& named) {
  std::lock_guard<Mutex> guard(mutex_);
  if (first_free_ == kNoSlot && !add_segment()) return {};
  const uint32_t slot = first_free_;
  Entry& entry = entry_at(slot);
  first_free_ = entry.next_free;
  if (first_free_ == kNoSlot) last_free_ = kNoSlot;
  entry.value = value;
  size_.store(size() + 1, std::memory_order_relaxed);
  const ConnectionId id{slot, entry.generation};
  std::forward<F>(named)(id);
  return id;
}

template <class T, class Mutex>
bool SlotMap<T, Mutex>::erase(ConnectionId id) {
  std::lock_guard<Mutex> guard(mutex_);
  Entry* entry = find(id);
  if (entry == nullptr) return false;
  entry->value = nullptr;
  ++entry->generation;
  // A slot that has used its last generation stays out of use: ids must not start over.
  if (entry->generation != 0) push_free(id.slot);
  size_.store(size() - 1, std::memory_order_relaxed);
  return true;
}

template <class T, class Mutex>
void SlotMap<T, Mutex>::push_free(uint32_t slot) {
  entry_at(slot).next_free = kNoSlot;
  if (last_free_ == kNoSlot) {
    first_free_ = slot;
  } else {
    entry_at(last_free_).next_free = slot;
  }
  last_free_ = slot;
}

template <class T, class Mutex>
bool SlotMap<T, Mutex>::add_segment() {
  uint32_t generation = 0;
  const uint32_t segment = blocks_.claim(&generation);
  if (segment == SlotBlocks::kNone) return false;
  if (segment >= segments_.size()) segments_.resize(segment + 1);
  segments_[segment] = std::make_unique<Segment>();
  in_use_.push_back(segment);
  for (uint32_t index = 0; index < kSegmentSlots; ++index) {
    Entry& entry = segments_[segment]->entries[index];
    entry.value = nullptr;
    entry.generation = generation;
    push_free((segment << kSegmentBits) | index);
  }
  return true;
}

}  // namespace iocp
