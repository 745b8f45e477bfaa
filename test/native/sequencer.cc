#include "core/sequencer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

struct Read {
  uint64_t number = 0;
  uint32_t length = 0;
  std::unique_ptr<int> buffer;
};

Read make_read(uint64_t number) {
  Read read;
  read.number = number;
  read.length = static_cast<uint32_t>(number * 7 + 1);
  read.buffer = std::make_unique<int>(static_cast<int>(number));
  return read;
}

}  // namespace

TEST_CASE("sequencer: one read at a time passes straight through") {
  Sequencer<Read> sequencer(1);
  for (uint64_t i = 0; i < 10; ++i) {
    CHECK(sequencer.next_number() == i);
    Read read;
    CHECK_FALSE(sequencer.has_next());
    CHECK_FALSE(sequencer.take(&read));
    CHECK(sequencer.store(i, make_read(i)));
    CHECK(sequencer.has_next());
    REQUIRE(sequencer.take(&read));
    CHECK(read.number == i);
    CHECK_FALSE(sequencer.has_next());
  }
}

TEST_CASE("sequencer: a parked read keeps its own length (facts 1)") {
  Sequencer<Read> sequencer(4);
  for (int i = 0; i < 4; ++i) sequencer.next_number();
  Read read;
  for (uint64_t number : {3u, 1u, 2u}) {
    CHECK(sequencer.store(number, make_read(number)));
    CHECK_FALSE(sequencer.take(&read));
  }
  CHECK(sequencer.store(0, make_read(0)));
  for (uint64_t number = 0; number < 4; ++number) {
    REQUIRE(sequencer.take(&read));
    CHECK(read.number == number);
    CHECK(read.length == number * 7 + 1);
    CHECK(*read.buffer == static_cast<int>(number));
  }
  CHECK_FALSE(sequencer.take(&read));
}

TEST_CASE("sequencer: a post that failed leaves no gap (facts 3)") {
  Sequencer<Read> sequencer(4);
  const uint64_t first = sequencer.next_number();
  const uint64_t failed = sequencer.next_number();
  CHECK_FALSE(sequencer.take_back(first));
  CHECK(sequencer.take_back(failed));
  const uint64_t again = sequencer.next_number();
  CHECK(again == failed);
  CHECK(sequencer.store(again, make_read(again)));
  CHECK(sequencer.store(first, make_read(first)));
  Read read;
  CHECK(sequencer.take(&read));
  CHECK(sequencer.take(&read));
  CHECK(read.number == again);
  CHECK_FALSE(sequencer.take_back(again));
}

TEST_CASE("sequencer: refuses numbers that are not outstanding and second items") {
  Sequencer<Read> sequencer(8);
  for (int i = 0; i < 3; ++i) sequencer.next_number();
  Read extra = make_read(9);
  CHECK_FALSE(sequencer.store(3, std::move(extra)));
  CHECK(extra.buffer != nullptr);
  CHECK(sequencer.store(2, make_read(2)));
  CHECK_FALSE(sequencer.store(2, std::move(extra)));
  CHECK(sequencer.store(0, make_read(0)));
  CHECK_FALSE(sequencer.store(0, std::move(extra)));
  Read read;
  CHECK(sequencer.take(&read));
  CHECK_FALSE(sequencer.store(0, std::move(extra)));
  CHECK(sequencer.store(1, make_read(1)));
  CHECK(sequencer.take(&read));
  CHECK_FALSE(sequencer.store(2, std::move(extra)));
  CHECK(sequencer.take(&read));
  CHECK(read.number == 2);
}

TEST_CASE("sequencer: a full window in reverse") {
  Sequencer<Read> sequencer(64);
  for (int i = 0; i < 64; ++i) sequencer.next_number();
  for (uint64_t number = 63; number > 0; --number) {
    CHECK(sequencer.store(number, make_read(number)));
    CHECK_FALSE(sequencer.has_next());
  }
  CHECK(sequencer.store(0, make_read(0)));
  Read read;
  for (uint64_t number = 0; number < 64; ++number) {
    REQUIRE(sequencer.take(&read));
    CHECK(read.number == number);
  }
  CHECK_FALSE(sequencer.take(&read));
  CHECK(sequencer.next_number() == 64);
}

TEST_CASE("sequencer: what waits when a connection closes goes with it") {
  const auto buffer = std::make_shared<int>(0);
  {
    Sequencer<std::shared_ptr<int>> sequencer(8);
    for (int i = 0; i < 8; ++i) sequencer.next_number();
    for (uint64_t number : {7u, 2u, 0u}) CHECK(sequencer.store(number, std::shared_ptr<int>(buffer)));
    CHECK(buffer.use_count() == 4);
  }
  CHECK(buffer.use_count() == 1);
}

TEST_CASE("sequencer: any order of completions comes out in the order of posting") {
  std::mt19937 random(11);
  for (uint32_t window : {1u, 2u, 3u, 8u, 33u, 64u}) {
    Sequencer<Read> sequencer(window);
    std::vector<uint64_t> pending;
    uint64_t expected = 0;
    uint32_t outstanding = 0;
    while (expected < 5000) {
      if (random() % 2 == 0) {
        for (; outstanding < window; ++outstanding) pending.push_back(sequencer.next_number());
      }
      if (!pending.empty()) {
        std::swap(pending[random() % pending.size()], pending.back());
        REQUIRE(sequencer.store(pending.back(), make_read(pending.back())));
        pending.pop_back();
      }
      if (random() % 3 == 0) {
        Read read;
        while (sequencer.take(&read)) {
          REQUIRE(read.number == expected);
          REQUIRE(*read.buffer == static_cast<int>(expected));
          ++expected;
          --outstanding;
        }
      }
    }
  }
}

TEST_CASE("sequencer stress: 8 threads complete 8 reads in order (facts 2)") {
  // The shape of its use: number and post are one step under the lock, completions come on any
  // thread, the contiguous prefix is delivered under the lock.
  std::mutex mutex;
  Sequencer<Read> sequencer(8);
  std::vector<uint64_t> delivered;
  uint64_t posted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        uint64_t number = 0;
        {
          std::lock_guard<std::mutex> guard(mutex);
          if (posted - delivered.size() == 8) continue;
          number = sequencer.next_number();
          ++posted;
        }
        if (number % 3 == 0) std::this_thread::yield();
        Read done = make_read(number);
        std::lock_guard<std::mutex> guard(mutex);
        sequencer.store(number, std::move(done));
        Read read;
        while (sequencer.take(&read)) delivered.push_back(read.number);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t i = 0; i < delivered.size(); ++i) REQUIRE(delivered[i] == i);
  CHECK(delivered.size() == posted);
}
