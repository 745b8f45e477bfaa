#include "core/payload_memory.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using iocp::PayloadMemory;

namespace {

constexpr size_t kib = 1024;
constexpr size_t mib = 1024 * kib;

uint8_t* allocate(size_t size) {
  size_t capacity = 0;
  uint8_t* block = PayloadMemory::allocate(size, &capacity);
  REQUIRE(block != nullptr);
  CHECK(capacity >= size);
  std::memset(block, 0xA5, capacity);  // all of it may be used
  return block;
}

// Engines ask more often than once per period, and it counts once.
void pass_a_period() {
  static std::atomic<uint64_t> now{1'000'000};
  const uint64_t at = now.fetch_add(PayloadMemory::kPeriodMs) + PayloadMemory::kPeriodMs;
  PayloadMemory::decay(at);
  PayloadMemory::decay(at);
  PayloadMemory::decay(at + PayloadMemory::kPeriodMs - 1);
}

void allocate_and_free(size_t size, size_t count) {
  std::vector<uint8_t*> blocks;
  for (size_t i = 0; i < count; ++i) blocks.push_back(allocate(size));
  for (uint8_t* block : blocks) PayloadMemory::free(block);
}

}  // namespace

TEST_CASE("payload_memory: a big block is used again for one of its size") {
  const PayloadMemory::Lease user(true);
  for (const size_t size : {64 * kib, 64 * kib + 1, mib, mib + 16, 4 * mib + 64 * kib}) {
    uint8_t* first = allocate(size);
    PayloadMemory::free(first);
    CHECK(PayloadMemory::unused_bytes() >= size);
    uint8_t* second = allocate(size);
    CHECK(second == first);
    uint8_t* third = allocate(size);
    CHECK(third != second);
    PayloadMemory::free(second);
    PayloadMemory::free(third);
  }
}

TEST_CASE("payload_memory: a block is little larger than what was asked for") {
  const PayloadMemory::Lease user(true);
  for (size_t size = 64 * kib; size <= 4 * mib; size += size / 7) {
    size_t capacity = 0;
    uint8_t* block = PayloadMemory::allocate(size, &capacity);
    CHECK(capacity <= size + size / 4 + kib);
    PayloadMemory::free(block);
  }
  // A packet of a power of two and its header.
  for (size_t size = 64 * kib; size <= 4 * mib; size *= 2) {
    size_t capacity = 0;
    uint8_t* block = PayloadMemory::allocate(size + 16, &capacity);
    CHECK(capacity <= size + size / 64);
    PayloadMemory::free(block);
  }
}

TEST_CASE("payload_memory: small and huge blocks are not kept, and have the size that was asked for") {
  const PayloadMemory::Lease user(true);
  for (const size_t size : {size_t{1}, size_t{256}, 64 * kib - 1, 4 * mib + 64 * kib + 1, 16 * mib}) {
    size_t capacity = 0;
    uint8_t* block = PayloadMemory::allocate(size, &capacity);
    CHECK(capacity == size);
    PayloadMemory::free(block);
    CHECK(PayloadMemory::unused_bytes() == 0);
  }
  PayloadMemory::free(nullptr);
}

TEST_CASE("payload_memory: nothing is kept without a user, and nothing after the last one") {
  size_t capacity = 0;
  uint8_t* exact = PayloadMemory::allocate(70'000, &capacity);
  CHECK(capacity == 70'000);
  PayloadMemory::free(exact);
  allocate_and_free(mib, 3);
  CHECK(PayloadMemory::unused_bytes() == 0);
  {
    const PayloadMemory::Lease keeps_none(false);
    allocate_and_free(mib, 3);
    CHECK(PayloadMemory::unused_bytes() == 0);
  }
  uint8_t* late = nullptr;
  {
    const PayloadMemory::Lease one(true);
    late = allocate(mib);
    {
      const PayloadMemory::Lease two(true);
      allocate_and_free(mib, 3);
    }
    CHECK(PayloadMemory::unused_bytes() >= 3 * mib);
  }
  CHECK(PayloadMemory::unused_bytes() == 0);
  PayloadMemory::free(late);
  CHECK(PayloadMemory::unused_bytes() == 0);
}

TEST_CASE("payload_memory: what is kept is bounded, in bytes and for each size") {
  const PayloadMemory::Lease user(true);
  allocate_and_free(64 * kib, 100);
  CHECK(PayloadMemory::unused_bytes() >= 60 * 64 * kib);
  CHECK(PayloadMemory::unused_bytes() <= 64 * 66 * kib);
  allocate_and_free(4 * mib, 30);
  CHECK(PayloadMemory::unused_bytes() <= PayloadMemory::kMaxUnused);
  CHECK(PayloadMemory::unused_bytes() > PayloadMemory::kMaxUnused - 5 * mib);
}

TEST_CASE("payload_memory: blocks that nobody has needed for a period go back, the others stay") {
  const PayloadMemory::Lease user(true);
  allocate_and_free(mib, 10);
  pass_a_period();
  // Four of them are in use at once.
  for (int i = 0; i < 5; ++i) allocate_and_free(mib, 4);
  pass_a_period();
  CHECK(PayloadMemory::unused_bytes() / mib == 4);
  allocate_and_free(mib, 4);
  pass_a_period();
  CHECK(PayloadMemory::unused_bytes() / mib == 4);
  pass_a_period();
  pass_a_period();
  CHECK(PayloadMemory::unused_bytes() == 0);
}

TEST_CASE("payload_memory: many threads, and no block has two owners") {
  std::atomic<uint32_t> wrong{0};
  std::atomic<bool> over{false};
  const auto work = [&](uint32_t seed) {
    std::mt19937 random(seed);
    const auto mark = static_cast<uint8_t>(seed);
    std::vector<std::pair<uint8_t*, size_t>> mine;
    for (int i = 0; i < 3000; ++i) {
      if (mine.size() < 6 && random() % 2 == 0) {
        size_t capacity = 0;
        uint8_t* block = PayloadMemory::allocate((64 * kib) << (random() % 3), &capacity);
        block[0] = block[capacity / 2] = block[capacity - 1] = mark;
        mine.emplace_back(block, capacity);
      } else if (!mine.empty()) {
        const size_t at = random() % mine.size();
        const auto [block, capacity] = mine[at];
        if (block[0] != mark || block[capacity / 2] != mark || block[capacity - 1] != mark) ++wrong;
        PayloadMemory::free(block);
        mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
    for (const auto& one : mine) PayloadMemory::free(one.first);
  };
  {
    // Users come and go, and what is unused is given back, all the while.
    std::thread coming_and_going([&] {
      while (!over) {
        const PayloadMemory::Lease user(true);
        for (int i = 0; i < 20; ++i) pass_a_period();
      }
    });
    std::vector<std::thread> threads;
    for (uint32_t i = 1; i <= 4; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    over = true;
    coming_and_going.join();
  }
  CHECK(wrong == 0);
  CHECK(PayloadMemory::unused_bytes() == 0);
}
