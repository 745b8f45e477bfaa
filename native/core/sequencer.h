#pragma once
// Puts the completions of several outstanding reads back into the order in which they were posted.
//
// Externally synchronised. Posting a read and taking its number must be one step under the lock of
// the connection: the system fills buffers in the order of posting, and this order is the stream's.
// An item carries everything that belongs to its read (buffer, length, error) before it is stored
// here, so that nothing of a read that waits can be mixed up with the read that lets it go.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace iocp {

// Item: default-constructible and movable. As long as completions come in order no heap memory is needed;
// room for early ones is allocated when the first one comes.
template <class Item>
class Sequencer {
 public:
  static constexpr uint32_t kMaxWindow = 64;

  // So many numbers are given out at most whose items have not been taken: 1 to 64.
  explicit Sequencer(uint32_t window) : window_(window) {}

  uint64_t next_number() { return next_++; }

  // The post failed at once and there will be no completion. Only for the number given out last, in
  // the same step; otherwise there would be a gap that nothing ever fills.
  bool take_back(uint64_t number) {
    if (next_ == turn_ || number != next_ - 1) return false;
    --next_;
    return true;
  }

  // False when the number is not outstanding or its item is here already; `item` is untouched then.
  bool store(uint64_t number, Item&& item) {
    if (number < turn_ || number >= next_) return false;
    if (number == turn_) {
      if (has_turn_item_ || (early_ & bit(number)) != 0) return false;
      turn_item_ = std::move(item);
      has_turn_item_ = true;
      return true;
    }
    if ((early_ & bit(number)) != 0) return false;
    if (number - turn_ >= capacity_) grow_ring(number - turn_);
    ring_[number & (capacity_ - 1)] = std::move(item);
    early_ |= bit(number);
    return true;
  }

  // The next item in the order of posting, when it is here.
  bool take(Item* item) {
    if (has_turn_item_) {
      *item = std::move(turn_item_);
      has_turn_item_ = false;
    } else if ((early_ & bit(turn_)) != 0) {
      *item = std::move(ring_[turn_ & (capacity_ - 1)]);
      early_ &= ~bit(turn_);
    } else {
      return false;
    }
    ++turn_;
    return true;
  }

  // Would take() find something?
  bool has_next() const { return has_turn_item_ || (early_ & bit(turn_)) != 0; }

 private:
  static constexpr uint64_t bit(uint64_t number) { return 1ull << (number % kMaxWindow); }

  // Makes the ring large enough for an item `distance` ahead of its turn.
  void grow_ring(uint64_t distance) {
    uint32_t capacity = 2;
    while (capacity <= distance || capacity < window_) capacity *= 2;
    std::unique_ptr<Item[]> ring(new Item[capacity]);
    for (uint64_t number = turn_; early_ != 0 && number < turn_ + capacity_; ++number) {
      if ((early_ & bit(number)) == 0) continue;
      ring[number & (capacity - 1)] = std::move(ring_[number & (capacity_ - 1)]);
    }
    ring_ = std::move(ring);
    capacity_ = capacity;
  }

  uint64_t next_ = 0;   // the number that is given out next; 64 bits never wrap
  uint64_t turn_ = 0;   // the number whose item is handed out next
  uint64_t early_ = 0;  // which numbers after `turn_` have their item in the ring, by number % 64
  std::unique_ptr<Item[]> ring_;
  uint32_t capacity_ = 0;  // of the ring: 0 or a power of two
  const uint32_t window_;
  Item turn_item_{};
  bool has_turn_item_ = false;
};

}  // namespace iocp
