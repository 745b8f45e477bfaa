#pragma once
// How many connections a listener may have at a time, and has.
#include <atomic>
#include <cstdint>

namespace iocp {

// Any thread. A place is taken only while there is one, so the limit holds at every moment, and nobody who is refused
// for something else holds the last one meanwhile.
class Places {
 public:
  explicit Places(uint32_t limit) : limit_(limit) {}
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  bool any_free() const { return taken_.load(std::memory_order_relaxed) < limit_; }
  // False when there is none.
  bool take() {
    uint32_t taken = taken_.load(std::memory_order_relaxed);
    while (taken < limit_) {
      if (taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  // By whoever has taken one.
  void give_back() { taken_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  const uint32_t limit_;
  std::atomic<uint32_t> taken_{0};
};

}  // namespace iocp
