#pragma once
// How values are distributed, in fixed memory: four buckets per power of two, exact below 4. A
// percentile is too high by less than a quarter. Values from 2^32 on count as 2^32 - 1.
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace iocp {

constexpr uint32_t kHistogramBuckets = 124;

constexpr uint32_t histogram_bucket(uint64_t value) {
  if (value < 4) return static_cast<uint32_t>(value);
  if (value > 0xFFFFFFFFu) value = 0xFFFFFFFFu;
  uint32_t exponent = 0;
  for (uint32_t step = 16; step != 0; step /= 2) {
    if ((value >> (exponent + step)) != 0) exponent += step;
  }
  const uint32_t quarter = static_cast<uint32_t>(value >> (exponent - 2)) & 3;
  return 4 + (exponent - 2) * 4 + quarter;
}

// The largest value that falls into the bucket.
constexpr uint64_t histogram_bucket_top(uint32_t bucket) {
  if (bucket < 4) return bucket;
  const uint32_t shift = (bucket - 4) / 4;
  const uint64_t quarter = (bucket - 4) % 4;
  return ((quarter + 5) << shift) - 1;
}

// Plain numbers to merge and to ask.
struct HistogramSnapshot {
  uint64_t buckets[kHistogramBuckets] = {};
  uint64_t count = 0;
  uint64_t sum = 0;
  uint64_t max = 0;

  double mean() const { return count == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(count); }

  // The value that `percent` of all values do not exceed; 0 when there are none.
  uint64_t percentile(double percent) const {
    if (count == 0) return 0;
    if (percent < 0) percent = 0;
    if (percent > 100) percent = 100;
    const double wanted = static_cast<double>(count) * percent / 100;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket < kHistogramBuckets; ++bucket) {
      seen += buckets[bucket];
      if (seen != 0 && static_cast<double>(seen) >= wanted) {
        const uint64_t top = histogram_bucket_top(bucket);
        return top < max ? top : max;
      }
    }
    return max;
  }
};

// Any thread adds, any thread reads.
class Histogram {
 public:
  void add(uint64_t value) {
    buckets_[histogram_bucket(value)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
    uint64_t max = max_.load(std::memory_order_relaxed);
    while (value > max && !max_.compare_exchange_weak(max, value, std::memory_order_relaxed)) {
    }
  }

  // Adds what is here to `out`. Values that are added meanwhile may be seen in part.
  void merge_into(HistogramSnapshot* out) const {
    for (uint32_t bucket = 0; bucket < kHistogramBuckets; ++bucket) {
      const uint64_t count = buckets_[bucket].load(std::memory_order_relaxed);
      out->buckets[bucket] += count;
      out->count += count;
    }
    out->sum += sum_.load(std::memory_order_relaxed);
    const uint64_t max = max_.load(std::memory_order_relaxed);
    if (max > out->max) out->max = max;
  }

 private:
  std::atomic<uint64_t> buckets_[kHistogramBuckets] = {};
  std::atomic<uint64_t> sum_{0};
  std::atomic<uint64_t> max_{0};
};

}  // namespace iocp
