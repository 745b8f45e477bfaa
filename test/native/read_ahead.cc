#include "core/read_ahead.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

using Pool = BufferPool<std::mutex>;
using Memory = ReadAheadMemory<std::mutex>;

constexpr size_t kBuffer = 64 * 1024;

}  // namespace

TEST_CASE("read_ahead: small as long as nothing big is wanted, then big, then small again") {
  Pool pool(kBuffer, 0);
  ReadAheadBlocks blocks;
  Memory memory;
  CHECK(memory.size() == 0);
  for (int round = 0; round < 3; ++round) {
    for (const bool big : {false, false, true, true}) {
      REQUIRE(memory.prepare(&pool, &blocks, big));
      CHECK(memory.size() == (big ? Memory::kBlock : kBuffer));
      std::memset(memory.data(), round, memory.size());
      CHECK(memory.is_big() == big);
      CHECK(blocks.taken() == (big ? 1u : 0u));
      CHECK(pool.stats().in_use == (big ? 0u : 1u));
    }
  }
  memory.reset();
  CHECK(memory.size() == 0);
  CHECK(blocks.taken() == 0);
  memory.reset();
  CHECK(blocks.taken() == 0);
}

TEST_CASE("read_ahead: it keeps what it has while that is what is wanted") {
  Pool pool(kBuffer, 0);
  ReadAheadBlocks blocks;
  Memory memory;
  for (const bool big : {false, true}) {
    REQUIRE(memory.prepare(&pool, &blocks, big));
    const uint8_t* first = memory.data();
    REQUIRE(memory.prepare(&pool, &blocks, big));
    CHECK(memory.data() == first);
  }
}

TEST_CASE("read_ahead: there are only so many big ones; the others have to do with small ones until one is free") {
  Pool pool(kBuffer, 0);
  ReadAheadBlocks blocks;
  std::vector<std::unique_ptr<Memory>> all;
  for (uint32_t i = 0; i < ReadAheadBlocks::kMax; ++i) {
    all.push_back(std::make_unique<Memory>());
    REQUIRE(all.back()->prepare(&pool, &blocks, true));
    CHECK(all.back()->size() == Memory::kBlock);
  }
  Memory late;
  REQUIRE(late.prepare(&pool, &blocks, true));
  CHECK(late.size() == kBuffer);
  CHECK(blocks.taken() == ReadAheadBlocks::kMax);
  all.pop_back();
  REQUIRE(late.prepare(&pool, &blocks, true));
  CHECK(late.size() == Memory::kBlock);
  CHECK(pool.stats().in_use == 0);
  CHECK(blocks.taken() == ReadAheadBlocks::kMax);
  all.clear();
  late.reset();
  CHECK(blocks.taken() == 0);
}

TEST_CASE("read_ahead: a block is not given up for a buffer that cannot be had") {
  Pool none(size_t{1} << 62, 0);
  ReadAheadBlocks blocks;
  Memory memory;
  CHECK_FALSE(memory.prepare(&none, &blocks, false));
  REQUIRE(memory.prepare(&none, &blocks, true));
  const uint8_t* block = memory.data();
  REQUIRE(memory.prepare(&none, &blocks, false));
  CHECK(memory.data() == block);
  CHECK(memory.size() == Memory::kBlock);
  CHECK(blocks.taken() == 1);
}

TEST_CASE("read_ahead: many threads, never more than there may be, none lost") {
  Pool pool(kBuffer, 0);
  ReadAheadBlocks blocks;
  std::atomic<uint32_t> big{0};
  std::atomic<uint32_t> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, &blocks, &big, &most] {
      std::vector<std::unique_ptr<Memory>> mine;
      for (int i = 0; i < 400; ++i) {
        mine.push_back(std::make_unique<Memory>());
        if (!mine.back()->prepare(&pool, &blocks, true)) continue;
        if (mine.back()->size() == Memory::kBlock) {
          const uint32_t now = big.fetch_add(1) + 1;
          for (uint32_t seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
          }
        }
        if (mine.size() < 50) continue;
        for (const std::unique_ptr<Memory>& memory : mine) {
          if (memory->size() == Memory::kBlock) big.fetch_sub(1);
        }
        mine.clear();
      }
      for (const std::unique_ptr<Memory>& memory : mine) {
        if (memory->size() == Memory::kBlock) big.fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(blocks.taken() == 0);
  CHECK(most.load() <= ReadAheadBlocks::kMax);
  CHECK(most.load() > 0);
  CHECK(pool.stats().in_use == 0);
}
