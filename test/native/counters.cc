#include "core/counters.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace iocp;

TEST_CASE("counters: every counter has a name of its own") {
  std::set<std::string> names(kCounterNames, kCounterNames + kCounterCount);
  CHECK(names.size() == kCounterCount);
  CHECK(names.count("bytesIn") == 1);
  CHECK(std::string(kCounterNames[static_cast<size_t>(Counter::enobufs)]) == "enobufs");
}

TEST_CASE("counters: two threads never write the same cache line") {
  Counters counters(2);
  const auto* first = reinterpret_cast<const uint8_t*>(&counters.of(0));
  const auto* second = reinterpret_cast<const uint8_t*>(&counters.of(1));
  CHECK(second - first >= static_cast<ptrdiff_t>(kCounterCount * sizeof(uint64_t) + 128));
}

TEST_CASE("counters stress: the sum is complete, and may be asked for at any time") {
  constexpr uint64_t kEach = 20000;
  Counters counters(2);
  std::vector<std::thread> threads;
  for (size_t t : {size_t{1}, size_t{2}, Counters::kOthers, Counters::kOthers}) {
    threads.emplace_back([&counters, t] {
      for (uint64_t i = 0; i < kEach; ++i) {
        counters.add(t, Counter::packets_in);
        counters.add(t, Counter::bytes_in, 10);
      }
    });
  }
  uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    const uint64_t now = counters.sum(Counter::packets_in);
    CHECK(now >= last);
    last = now;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(counters.sum(Counter::packets_in) == 4 * kEach);
  CHECK(counters.sum(Counter::bytes_in) == 40 * kEach);
  CHECK(counters.sum(Counter::drops) == 0);
}
