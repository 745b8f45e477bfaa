#pragma once
// Times in nanoseconds, in classes that are 1/32 wide: a percentile is off by 3 % at most.
#include <cstdint>
#include <vector>

namespace bench {

class Histogram {
 public:
  Histogram() : classes_(64 * kParts) {}

  void add(uint64_t value) {
    ++classes_[index_of(value)];
    ++count_;
    if (value > max_) max_ = value;
  }

  void clear() {
    classes_.assign(classes_.size(), 0);
    count_ = 0;
    max_ = 0;
  }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The upper end of the class in which the percentile lies.
  uint64_t percentile(double percent) const {
    const uint64_t rank = static_cast<uint64_t>(static_cast<double>(count_) * percent / 100);
    uint64_t seen = 0;
    for (size_t i = 0; i < classes_.size(); ++i) {
      seen += classes_[i];
      if (seen > rank) {
        const uint64_t end = end_of(i);
        return end < max_ ? end : max_;
      }
    }
    return max_;
  }

 private:
  static constexpr uint32_t kBits = 5;
  static constexpr uint32_t kParts = 1u << kBits;

  static uint32_t exponent_of(uint64_t value) {
    uint32_t exponent = 0;
    while (value >= 2 * kParts) {
      value >>= 1;
      ++exponent;
    }
    return exponent;
  }
  static size_t index_of(uint64_t value) {
    const uint32_t exponent = exponent_of(value);
    return static_cast<size_t>(exponent) * kParts + static_cast<size_t>(value >> exponent);
  }
  static uint64_t end_of(size_t index) {
    if (index < 2 * kParts) return index;
    const size_t exponent = index / kParts - 1;
    return ((static_cast<uint64_t>(index) - exponent * kParts + 1) << exponent) - 1;
  }

  std::vector<uint64_t> classes_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace bench
