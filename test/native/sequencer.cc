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
  Sequencer<Read> sequencer;
  for (uint64_t i = 0; i < 10; ++i) {
    CHECK(sequencer.may_post());
    CHECK(sequencer.next_number() == i);
    CHECK_FALSE(sequencer.may_post());
    Read read;
    CHECK_FALSE(sequencer.has_next());
    CHECK_FALSE(sequencer.take(&read));
    CHECK(sequencer.store(i, make_read(i)));
    CHECK(sequencer.has_next());
    REQUIRE(sequencer.take(&read));
    CHECK(read.number == i);
    CHECK(sequencer.outstanding() == 0);
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
  CHECK(sequencer.has_early());
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

TEST_CASE("sequencer: the window may change while reads are outstanding") {
  Sequencer<Read> sequencer(2);
  for (int i = 0; i < 2; ++i) sequencer.next_number();
  CHECK(sequencer.store(1, make_read(1)));
  sequencer.set_window(64);
  while (sequencer.may_post()) sequencer.next_number();
  CHECK(sequencer.outstanding() == 64);
  for (uint64_t number = 63; number > 1; --number) {
    CHECK(sequencer.store(number, make_read(number)));
  }
  sequencer.set_window(1);
  CHECK_FALSE(sequencer.may_post());
  CHECK(sequencer.store(0, make_read(0)));
  Read read;
  for (uint64_t number = 0; number < 64; ++number) {
    REQUIRE(sequencer.take(&read));
    CHECK(read.number == number);
  }
  CHECK(sequencer.may_post());
  sequencer.set_window(1);
  CHECK(sequencer.next_number() == 64);
  CHECK_FALSE(sequencer.may_post());
}

TEST_CASE("sequencer: windows outside 1..64 are brought inside") {
  CHECK(Sequencer<Read>(0).window() == 1);
  CHECK(Sequencer<Read>(1000).window() == 64);
}

TEST_CASE("sequencer: on close everything that waits is given back") {
  Sequencer<Read> sequencer(8);
  for (int i = 0; i < 8; ++i) sequencer.next_number();
  for (uint64_t number : {7u, 2u, 5u}) CHECK(sequencer.store(number, make_read(number)));
  Read read;
  std::vector<uint64_t> given;
  while (sequencer.take_any(&read)) given.push_back(read.number);
  CHECK(given == std::vector<uint64_t>{2, 5, 7});
  for (uint64_t number : {0u, 6u, 1u}) {
    CHECK(sequencer.store(number, make_read(number)));
    REQUIRE(sequencer.take_any(&read));
    CHECK(read.number == number);
  }
  CHECK_FALSE(sequencer.take_any(&read));
}

TEST_CASE("sequencer: any order of completions comes out in the order of posting") {
  std::mt19937 random(11);
  for (uint32_t window : {1u, 2u, 3u, 8u, 33u, 64u}) {
    Sequencer<Read> sequencer(window);
    std::vector<uint64_t> pending;
    uint64_t expected = 0;
    while (expected < 5000) {
      if (random() % 2 == 0) {
        while (sequencer.may_post()) pending.push_back(sequencer.next_number());
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
        }
      }
      REQUIRE(sequencer.outstanding() <= window);
    }
  }
}

TEST_CASE("sequencer stress: 8 threads complete 8 reads in order (facts 2)") {
  // The shape of its use: number and post are one step under the lock, completions come on any
  // thread, the contiguous prefix is delivered under the lock.
  std::mutex mutex;
  Sequencer<Read> sequencer(8);
  std::vector<uint64_t> delivered;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        uint64_t number = 0;
        {
          std::lock_guard<std::mutex> guard(mutex);
          if (!sequencer.may_post()) continue;
          number = sequencer.next_number();
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
  CHECK(sequencer.outstanding() == 0);
}
