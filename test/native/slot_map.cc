#include "core/slot_map.h"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

struct Item {
  int value = 0;
  std::atomic<bool> alive{true};
};
using Map = SlotMap<Item, std::shared_mutex>;

}  // namespace

TEST_CASE("connection_id: survives the way through a JavaScript number") {
  const ConnectionId id{kMaxSlots - 1, 0xFFFFFFFFu};
  CHECK(id.number() == (1ull << 53) - 1);
  CHECK(static_cast<uint64_t>(static_cast<double>(id.number())) == id.number());
  CHECK(ConnectionId::from_number(id.number()) == id);
  CHECK(ConnectionId::from_number(0x200005).slot == 5);
  CHECK(ConnectionId::from_number(0x200005).generation == 1);
}

TEST_CASE("connection_id: numbers that are no ids are not valid") {
  CHECK_FALSE(ConnectionId{}.valid());
  CHECK_FALSE(ConnectionId::from_number(0).valid());
  CHECK_FALSE(ConnectionId::from_number(17).valid());
  CHECK_FALSE(ConnectionId::from_number(1ull << 53).valid());
  CHECK_FALSE(ConnectionId::from_number(~0ull).valid());
}

TEST_CASE("slot_map: finds what was inserted, and nothing after it was erased") {
  SlotBlocks blocks;
  Map map(blocks);
  Item item;
  const ConnectionId id = map.insert(&item);
  REQUIRE(id.valid());
  CHECK(map.size() == 1);
  CHECK(map.with(id, [](Item& i) { i.value = 7; }));
  CHECK(item.value == 7);
  CHECK(map.erase(id));
  CHECK(map.size() == 0);
  CHECK_FALSE(map.with(id, [](Item&) { FAIL("stale id found something"); }));
  CHECK_FALSE(map.erase(id));
}

TEST_CASE("slot_map: ids that never were do not find or grow anything (facts 6)") {
  SlotBlocks blocks;
  Map map(blocks);
  Item item;
  const ConnectionId id = map.insert(&item);
  auto never = [](Item&) { FAIL("must not be called"); };
  CHECK_FALSE(map.with({id.slot, id.generation + 1}, never));
  CHECK_FALSE(map.with({id.slot + 1, 1}, never));
  CHECK_FALSE(map.with({kMaxSlots - 1, 1}, never));
  CHECK_FALSE(map.with({0xFFFFFFFFu, 1}, never));
  CHECK_FALSE(map.with({id.slot, 0}, never));
  CHECK(map.size() == 1);
  CHECK(blocks.claimed() == 1);
}

TEST_CASE("slot_map: an id is never given out twice, over several maps and lifetimes (facts 7)") {
  SlotBlocks blocks;
  std::set<uint64_t> seen;
  Item item;
  for (int round = 0; round < 6; ++round) {
    Map first(blocks);
    Map second(blocks);
    for (int i = 0; i < 2500; ++i) {
      for (Map* map : {&first, &second}) {
        const ConnectionId id = map->insert(&item);
        REQUIRE(id.valid());
        REQUIRE(seen.insert(id.number()).second);
        if (i % 3 != 0) map->erase(id);  // the rest is still alive when its map goes
      }
    }
  }
  CHECK(blocks.claimed() == 0);
}

TEST_CASE("slot_map: an entry that outlives its map does not lend its id to the next one") {
  SlotBlocks blocks;
  Item item;
  ConnectionId last;
  for (int round = 0; round < 3; ++round) {
    Map map(blocks);
    const ConnectionId id = map.insert(&item);
    CHECK(id != last);
    last = id;
  }
}

TEST_CASE("slot_map: a freed slot rests while others are free") {
  SlotBlocks blocks;
  Map map(blocks);
  Item item;
  const ConnectionId first = map.insert(&item);
  map.erase(first);
  for (uint32_t i = 1; i < kSegmentSlots; ++i) {
    const ConnectionId id = map.insert(&item);
    REQUIRE(id.slot != first.slot);
    map.erase(id);
  }
  CHECK(map.insert(&item).slot == first.slot);
  CHECK(blocks.claimed() == 1);
}

TEST_CASE("slot_map: a slot whose generation would wrap is retired, then its block") {
  SlotBlocks blocks;
  uint32_t generation = 0;
  REQUIRE(blocks.claim(&generation) == 0);
  CHECK(generation == 1);
  blocks.give_back(0, 0xFFFFFFFEu);
  Item item;
  {
    Map map(blocks);
    std::set<uint64_t> seen;
    for (uint32_t i = 0; i < 2 * kSegmentSlots; ++i) {
      const ConnectionId id = map.insert(&item);
      REQUIRE(id.segment() == 0);
      REQUIRE(id.generation >= 0xFFFFFFFEu);
      REQUIRE(seen.insert(id.number()).second);
      REQUIRE(map.erase(id));
    }
    const ConnectionId next = map.insert(&item);
    CHECK(next.segment() == 1);
    CHECK(next.generation == 1);
  }
  CHECK(blocks.claim(&generation) == 1);  // block 0 is used up
}

TEST_CASE("slot_map: fails cleanly when the process has no slot left, and recovers") {
  SlotBlocks blocks;
  Item item;
  std::vector<uint32_t> taken;
  uint32_t generation = 0;
  for (uint32_t i = 0; i + 1 < kMaxSegments; ++i) taken.push_back(blocks.claim(&generation));
  Map map(blocks);
  std::vector<ConnectionId> ids;
  for (uint32_t i = 0; i < kSegmentSlots; ++i) ids.push_back(map.insert(&item));
  CHECK(ids.back().slot == kMaxSlots - 1);
  CHECK_FALSE(map.insert(&item).valid());
  CHECK(map.size() == kSegmentSlots);
  CHECK(map.erase(ids[5]));
  CHECK(map.insert(&item) == ConnectionId{ids[5].slot, ids[5].generation + 1});
  CHECK_FALSE(map.insert(&item).valid());
  blocks.give_back(taken[3], 2);
  CHECK(map.insert(&item).slot == (taken[3] << kSegmentBits));
}

TEST_CASE("slot_map: an entry knows its id before anybody can find it") {
  SlotBlocks blocks;
  Map map(blocks);
  Item item;
  ConnectionId named;
  const ConnectionId id = map.insert(&item, [&](ConnectionId given) { named = given; });
  CHECK(named == id);
}

TEST_CASE("slot_map: a walk sees every entry once") {
  SlotBlocks blocks;
  Map other(blocks);
  Map map(blocks);
  Item item;
  std::set<uint64_t> expected;
  for (uint32_t i = 0; i < 3 * kSegmentSlots; ++i) {
    if (i % kSegmentSlots == 0) other.insert(&item);
    const ConnectionId id = map.insert(&item);
    if (i % 2 == 0) {
      map.erase(id);
    } else {
      expected.insert(id.number());
    }
  }
  std::set<uint64_t> seen;
  map.for_each([&](ConnectionId id, Item&) { CHECK(seen.insert(id.number()).second); });
  CHECK(seen == expected);
}

TEST_CASE("slot_blocks: threads that claim at once get different blocks") {
  SlotBlocks blocks;
  std::vector<std::thread> threads;
  std::vector<std::vector<uint64_t>> got(4);
  for (size_t t = 0; t < got.size(); ++t) {
    threads.emplace_back([&blocks, &mine = got[t]] {
      for (int i = 0; i < 300; ++i) {
        uint32_t generation = 0;
        const uint32_t block = blocks.claim(&generation);
        mine.push_back((static_cast<uint64_t>(block) << 32) | generation);
        if (i % 2 == 0) blocks.give_back(block, generation + 1ull);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& mine : got) {
    for (uint64_t pair : mine) REQUIRE(all.insert(pair).second);
  }
}

TEST_CASE("slot_map stress: threads insert, look up, erase and walk at once") {
  SlotBlocks blocks;
  Map map(blocks);
  constexpr int kRounds = 4000;
  std::vector<std::atomic<uint64_t>> published(64);
  std::atomic<bool> done{false};
  std::atomic<int> dead_seen{0};
  std::atomic<int> missing{0};

  auto churn = [&](size_t first) {
    for (int i = 0; i < kRounds; ++i) {
      auto item = std::make_unique<Item>();
      const ConnectionId id = map.insert(item.get());
      published[(first + static_cast<size_t>(i)) % published.size()].store(id.number());
      if (i % 16 == 0) std::this_thread::yield();
      if (!map.erase(id)) missing.fetch_add(1);
      item->alive.store(false);  // and freed at once: nobody may be inside it
    }
  };
  auto look = [&] {
    while (!done.load()) {
      for (std::atomic<uint64_t>& number : published) {
        map.with(ConnectionId::from_number(number.load()), [&](Item& item) {
          if (!item.alive.load()) dead_seen.fetch_add(1);
        });
      }
      map.for_each([&](ConnectionId, Item& item) {
        if (!item.alive.load()) dead_seen.fetch_add(1);
      });
    }
  };
  std::vector<std::thread> readers;
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) readers.emplace_back(look);
  for (size_t i = 0; i < 3; ++i) writers.emplace_back(churn, i * 21);
  for (std::thread& thread : writers) thread.join();
  done.store(true);
  for (std::thread& thread : readers) thread.join();
  CHECK(dead_seen.load() == 0);
  CHECK(missing.load() == 0);
  CHECK(map.size() == 0);
}
