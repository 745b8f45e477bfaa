#include "core/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

using namespace iocp;

TEST_CASE("histogram: every value falls into one bucket, in order, no gap") {
  CHECK(histogram_bucket(0xFFFFFFFFu) == kHistogramBuckets - 1);
  CHECK(histogram_bucket(~0ull) == kHistogramBuckets - 1);
  CHECK(histogram_bucket_top(kHistogramBuckets - 1) == 0xFFFFFFFFu);
  for (uint32_t bucket = 0; bucket < kHistogramBuckets; ++bucket) {
    const uint64_t top = histogram_bucket_top(bucket);
    CHECK(histogram_bucket(top) == bucket);
    if (bucket + 1 < kHistogramBuckets) CHECK(histogram_bucket(top + 1) == bucket + 1);
  }
}

TEST_CASE("histogram: an empty one answers 0") {
  HistogramSnapshot empty;
  CHECK(empty.percentile(50) == 0);
  CHECK(empty.mean() == 0);
}

TEST_CASE("histogram: percentiles are right to a quarter, the extremes exactly") {
  std::mt19937 random(5);
  std::vector<uint64_t> values;
  Histogram histogram;
  for (int i = 0; i < 20000; ++i) {
    values.push_back(random() >> (random() % 30));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  HistogramSnapshot snapshot;
  histogram.merge_into(&snapshot);
  CHECK(snapshot.count == values.size());
  CHECK(snapshot.max == values.back());
  CHECK(snapshot.percentile(100) == values.back());
  for (double percent : {1.0, 10.0, 50.0, 90.0, 99.0, 99.9}) {
    const size_t at = static_cast<size_t>(percent / 100 * static_cast<double>(values.size())) - 1;
    const uint64_t exact = values[at];
    CHECK(snapshot.percentile(percent) >= exact);
    CHECK(snapshot.percentile(percent) <= exact + exact / 4 + 1);
  }
}

TEST_CASE("histogram: merged ones count together") {
  Histogram a;
  Histogram b;
  a.add(10);
  b.add(1000);
  b.add(30);
  HistogramSnapshot both;
  a.merge_into(&both);
  b.merge_into(&both);
  CHECK(both.count == 3);
  CHECK(both.sum == 1040);
  CHECK(both.max == 1000);
  CHECK(both.mean() > 346);
}

TEST_CASE("histogram stress: threads that add at once lose nothing") {
  Histogram histogram;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 5000; ++i) histogram.add(i * (t + 1));
    });
  }
  HistogramSnapshot during;
  histogram.merge_into(&during);
  for (std::thread& thread : threads) thread.join();
  HistogramSnapshot after;
  histogram.merge_into(&after);
  CHECK(after.count == 20000);
  CHECK(after.max == 4999 * 4);
}
