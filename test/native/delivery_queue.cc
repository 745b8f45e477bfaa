#include "core/delivery_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/payload_memory.h"

using namespace iocp;

namespace {

using Queue = DeliveryQueue<std::mutex>;

Record packet_record(uint32_t slot, uint32_t number) {
  return {static_cast<uint32_t>(RecordKind::packet), slot, 1, 0, 0, number};
}

std::string text_of(const DeliveryChunk& chunk, const Record& record) {
  REQUIRE(record.a + record.b <= chunk.payload_size());
  return std::string(reinterpret_cast<const char*>(chunk.payload()) + record.a, record.b);
}

void append(Queue& queue, uint32_t slot, uint32_t number, const std::string& text, DeliveryCredit* credit = nullptr) {
  queue.append(packet_record(slot, number), text.data(), text.size(), credit);
}

// Takes and finishes one batch; false when there is none.
bool drain_one(Queue& queue, bool* resume = nullptr) {
  std::unique_ptr<DeliveryChunk> chunk = queue.take();
  if (chunk == nullptr) return false;
  const size_t cost = chunk->cost();
  const bool may_resume = queue.finish(std::move(chunk), cost);
  if (resume != nullptr) *resume = may_resume;
  return true;
}

}  // namespace

TEST_CASE("delivery_queue: records come out in order with their payload") {
  Queue queue(DeliveryLimits{});
  CHECK(queue.empty());
  append(queue, 1, 10, "hello");
  queue.append({static_cast<uint32_t>(RecordKind::close), 1, 1, 2, 3, 4}, nullptr, 0, nullptr);
  append(queue, 2, 11, "world!");
  std::unique_ptr<DeliveryChunk> chunk = queue.take();
  REQUIRE(chunk != nullptr);
  REQUIRE(chunk->count() == 3);
  CHECK(text_of(*chunk, chunk->records()[0]) == "hello");
  CHECK(text_of(*chunk, chunk->records()[2]) == "world!");
  // A record without payload keeps its own words.
  CHECK(chunk->records()[1].a == 2);
  CHECK(chunk->records()[1].b == 3);
  CHECK(chunk->records()[1].c == 4);
  CHECK(queue.empty());
  CHECK(queue.take() == nullptr);
  const size_t cost = chunk->cost();
  queue.finish(std::move(chunk), cost);
  CHECK(queue.depth().bytes == 0);
}

TEST_CASE("delivery_queue: a packet larger than a batch gets a batch of its own") {
  Queue queue(DeliveryLimits{});
  const std::string big(DeliveryChunk::kPayloadBytes * 3, 'x');
  append(queue, 1, 0, "before");
  append(queue, 1, 1, big);
  append(queue, 1, 2, "after");
  std::string all;
  while (std::unique_ptr<DeliveryChunk> chunk = queue.take()) {
    for (uint32_t i = 0; i < chunk->count(); ++i) all += text_of(*chunk, chunk->records()[i]);
    const size_t cost = chunk->cost();
    queue.finish(std::move(chunk), cost);
  }
  CHECK(all == "before" + big + "after");
  CHECK(queue.depth().bytes == 0);
  CHECK(queue.depth().peak_bytes >= big.size());
}

TEST_CASE("delivery_queue: a batch never has more records than the control array holds") {
  Queue queue(DeliveryLimits{});
  const uint32_t total = DeliveryChunk::kMaxRecords * 2 + 5;
  for (uint32_t i = 0; i < total; ++i) queue.append(packet_record(1, i), nullptr, 0, nullptr);
  uint32_t seen = 0;
  while (std::unique_ptr<DeliveryChunk> chunk = queue.take()) {
    CHECK(chunk->count() <= DeliveryChunk::kMaxRecords);
    for (uint32_t i = 0; i < chunk->count(); ++i) REQUIRE(chunk->records()[i].c == seen++);
    const size_t cost = chunk->cost();
    queue.finish(std::move(chunk), cost);
  }
  CHECK(seen == total);
}

TEST_CASE("delivery_queue: a payload handed over leaves the accounts right") {
  Queue queue(DeliveryLimits{});
  for (int i = 0; i < 20; ++i) {
    append(queue, 1, 0, std::string(40000, 'p'));
    std::unique_ptr<DeliveryChunk> chunk = queue.take();
    REQUIRE(chunk != nullptr);
    const size_t cost = chunk->cost();
    uint8_t* block = chunk->release_payload();
    CHECK(block[39999] == 'p');
    queue.finish(std::move(chunk), cost);
    PayloadMemory::free(block);
    REQUIRE(queue.depth().bytes == 0);
  }
}

TEST_CASE("delivery_queue: one wake-up is outstanding at most") {
  Queue queue(DeliveryLimits{});
  CHECK_FALSE(queue.needs_wake());
  append(queue, 1, 0, "a");
  CHECK(queue.needs_wake());
  CHECK_FALSE(queue.needs_wake());
  append(queue, 1, 1, "b");
  CHECK_FALSE(queue.needs_wake());
  REQUIRE(drain_one(queue));
  append(queue, 1, 2, "c");
  CHECK_FALSE(queue.needs_wake());  // the drain that goes on will see it
  CHECK(queue.end_drain());
  while (drain_one(queue)) {
  }
  CHECK_FALSE(queue.end_drain());
  append(queue, 1, 3, "d");
  CHECK(queue.needs_wake());
}

TEST_CASE("delivery_queue: a batch that is put back comes first in the next drain") {
  Queue queue(DeliveryLimits{});
  append(queue, 1, 0, "a");
  std::unique_ptr<DeliveryChunk> chunk = queue.take();
  append(queue, 1, 1, "b");
  queue.put_back(std::move(chunk));
  CHECK_FALSE(queue.empty());
  chunk = queue.take();
  CHECK(chunk->records()[0].c == 0);
  const size_t cost = chunk->cost();
  queue.finish(std::move(chunk), cost);
  chunk = queue.take();
  CHECK(chunk->records()[0].c == 1);
}

TEST_CASE("delivery_queue: a connection over its own bound parks until its bytes are drained") {
  Queue queue({1u << 20, 1000});
  DeliveryCredit credit;
  const ConnectionId id{7, 1};
  append(queue, 7, 0, std::string(500, 'x'), &credit);
  CHECK_FALSE(queue.park_if_full(id, &credit));
  append(queue, 7, 1, std::string(500, 'x'), &credit);
  CHECK(queue.park_if_full(id, &credit));
  CHECK(queue.depth().parked == 1);
  std::vector<ConnectionId> resumable;
  queue.take_resumable(10, &resumable);
  CHECK(resumable.empty());
  bool resume = false;
  CHECK(drain_one(queue, &resume));
  CHECK(resume);
  queue.take_resumable(10, &resumable);
  REQUIRE(resumable.size() == 1);
  CHECK(resumable[0] == id);
  CHECK(queue.depth().parked == 0);
  CHECK_FALSE(queue.park_if_full(id, &credit));
}

TEST_CASE("delivery_queue: a quiet neighbour is not parked for a loud one") {
  Queue queue({1u << 20, 1000});
  DeliveryCredit loud;
  DeliveryCredit quiet;
  append(queue, 1, 0, std::string(5000, 'x'), &loud);
  append(queue, 2, 0, "x", &quiet);
  CHECK(queue.park_if_full({1, 1}, &loud));
  CHECK_FALSE(queue.park_if_full({2, 1}, &quiet));
}

TEST_CASE("delivery_queue: at the overall bound everybody parks, and all are named again") {
  Queue queue({10000, 1u << 20});
  std::vector<DeliveryCredit> credits(20);
  std::vector<uint32_t> parked;
  for (uint32_t slot = 0; slot < 20; ++slot) {
    append(queue, slot, 0, std::string(1000, 'x'), &credits[slot]);
    if (queue.park_if_full({slot, 1}, &credits[slot])) parked.push_back(slot);
  }
  CHECK(parked.size() == 11);
  std::vector<ConnectionId> resumable;
  queue.take_resumable(100, &resumable);
  CHECK(resumable.empty());
  bool resume = false;
  while (drain_one(queue, &resume)) {
  }
  CHECK(resume);
  queue.take_resumable(4, &resumable);
  CHECK(resumable.size() == 4);
  queue.take_resumable(100, &resumable);
  REQUIRE(resumable.size() == 11);
  for (size_t i = 0; i < parked.size(); ++i) CHECK(resumable[i].slot == parked[i]);
}

TEST_CASE("delivery_queue: a connection whose own bytes are drained goes on, however much waits of others") {
  Queue queue({400000, 1000});
  DeliveryCredit own;
  DeliveryCredit others;
  append(queue, 1, 0, std::string(1000, 'x'), &own);
  CHECK(queue.park_if_full({1, 1}, &own));
  // More than half of the total, in chunks behind that of the first.
  for (uint32_t i = 0; i < 30; ++i) append(queue, 2, i, std::string(10000, 'x'), &others);
  CHECK(queue.depth().bytes > 200000);
  bool resume = false;
  for (int i = 0; i < 3 && !resume; ++i) REQUIRE(drain_one(queue, &resume));
  CHECK(queue.depth().bytes > 200000);
  REQUIRE(resume);
  std::vector<ConnectionId> resumable;
  queue.take_resumable(10, &resumable);
  REQUIRE(resumable.size() == 1);
  CHECK(resumable[0].slot == 1);
}

TEST_CASE("delivery_queue: once full, nobody reads on before those that have parked") {
  Queue queue({400000, 1u << 20});
  std::vector<DeliveryCredit> credits(4);
  for (uint32_t i = 0; i < 45; ++i) append(queue, 0, i, std::string(9000, 'x'), &credits[0]);
  CHECK(queue.park_if_full({0, 1}, &credits[0]));
  CHECK(drain_one(queue));
  // Below the bound again, and above half of it.
  CHECK(queue.depth().bytes < 400000);
  CHECK(queue.depth().bytes > 200000);
  CHECK(queue.park_if_full({1, 1}, &credits[1]));
  std::vector<ConnectionId> resumable;
  queue.take_resumable(10, &resumable);
  CHECK(resumable.empty());
  bool resume = false;
  while (!resume) REQUIRE(drain_one(queue, &resume));
  CHECK(queue.depth().bytes <= 200000);
  queue.take_resumable(1, &resumable);
  queue.take_resumable(10, &resumable);
  REQUIRE(resumable.size() == 2);
  CHECK(resumable[0].slot == 0);
  CHECK(resumable[1].slot == 1);
}

TEST_CASE("delivery_queue: whoever has parked first goes on first, whatever it has parked for") {
  Queue queue({1u << 20, 1000});
  DeliveryCredit own;
  append(queue, 0, 0, std::string(1000, 'x'), &own);
  CHECK(queue.park_if_full({0, 1}, &own));
  // More than are named at a time, each of which fills the queue again as soon as it may.
  constexpr uint32_t kOthers = 600;
  std::vector<DeliveryCredit> credits(kOthers + 1);
  const auto fill = [&] {
    DeliveryCredit nobody;
    append(queue, 5000, 0, std::string(1u << 20, 'x'), &nobody);
  };
  fill();
  for (uint32_t slot = 1; slot <= kOthers; ++slot) REQUIRE(queue.park_if_full({slot, 1}, &credits[slot]));
  bool named = false;
  for (int round = 0; round < 3 && !named; ++round) {
    bool resume = false;
    while (!resume) REQUIRE(drain_one(queue, &resume));
    std::vector<ConnectionId> resumable;
    queue.take_resumable(256, &resumable);
    fill();
    for (const ConnectionId id : resumable) {
      if (id.slot == 0)
        named = true;
      else
        REQUIRE(queue.park_if_full(id, &credits[id.slot]));
    }
  }
  CHECK(named);
}

// Connections that always have something, one of which reads in small pieces; the draining thread takes a chunk at a
// time. Whatever the bounds, nobody gets less than half of what the others get in any stretch of time.
TEST_CASE("delivery_queue: everybody gets a share") {
  struct Bounds {
    uint64_t total;
    uint64_t own;
  };
  for (const Bounds bounds : {Bounds{400000, 20000}, Bounds{1u << 20, 60000}, Bounds{300000, 1u << 20}}) {
    constexpr uint32_t kConnections = 25;
    Queue queue({bounds.total, bounds.own});
    std::vector<DeliveryCredit> credits(kConnections);
    std::deque<uint32_t> ready;  // as the engine's list of connections that may read
    for (uint32_t slot = 0; slot < kConnections; ++slot) ready.push_back(slot);
    std::vector<uint64_t> got(kConnections, 0);
    std::mt19937 random(7);
    uint32_t turn = 0;
    for (int stretch = 0; stretch < 20; ++stretch) {
      std::fill(got.begin(), got.end(), 0);
      for (int step = 0; step < 3000; ++step) {
        // Reading is faster than draining.
        for (int reads = 0; reads < 8 && !ready.empty(); ++reads) {
          const uint32_t slot = ready.front();
          ready.pop_front();
          append(queue, slot, turn++, std::string(2000 + random() % 2000, 'x'), &credits[slot]);
          if (!queue.park_if_full({slot, 1}, &credits[slot])) ready.push_back(slot);
        }
        std::unique_ptr<DeliveryChunk> chunk = queue.take();
        if (chunk == nullptr) continue;
        for (uint32_t i = 0; i < chunk->count(); ++i) got[chunk->records()[i].slot] += chunk->records()[i].b;
        const size_t cost = chunk->cost();
        if (!queue.finish(std::move(chunk), cost)) continue;
        std::vector<ConnectionId> resumable;
        queue.take_resumable(256, &resumable);
        for (const ConnectionId id : resumable) ready.push_back(id.slot);
      }
      uint64_t total = 0;
      for (const uint64_t one : got) total += one;
      for (const uint64_t one : got) CHECK(one * 2 * kConnections >= total);
    }
  }
}

TEST_CASE("delivery_queue: agrees with a plain list under random use") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const DeliveryLimits limits{200000, 30000};
    Queue queue(limits);
    constexpr uint32_t kConnections = 12;
    std::vector<DeliveryCredit> credits(kConnections);
    std::vector<bool> parked(kConnections, false);
    std::vector<uint32_t> next(kConnections, 0);
    std::vector<uint64_t> waiting(kConnections, 0);  // exact bytes of each in the queue
    std::deque<std::pair<uint32_t, std::string>> model;
    uint64_t pending = 0;
    bool is_full = false;
    for (int step = 0; step < 3000; ++step) {
      const uint32_t slot = static_cast<uint32_t>(random() % kConnections);
      const auto choice = random() % 10;
      if (choice < 7 && !parked[slot]) {
        const size_t size = random() % (random() % 30 == 0 ? 100000 : 900);
        const std::string text(size, static_cast<char>(random() & 0x7f));
        append(queue, slot, next[slot]++, text, &credits[slot]);
        model.emplace_back(slot, text);
        waiting[slot] += size + sizeof(Record);
        pending += size + sizeof(Record);
        is_full = is_full || pending >= limits.total;
        // The credit may count what has been drained already, never less than what waits.
        REQUIRE(credits[slot].bytes >= waiting[slot]);
        parked[slot] = queue.park_if_full({slot, 1}, &credits[slot]);
        if (parked[slot]) {
          REQUIRE((credits[slot].bytes >= limits.per_connection || is_full));
        } else {
          REQUIRE_FALSE(is_full);
          REQUIRE(waiting[slot] < limits.per_connection);
        }
      } else if (choice >= 7 && random() % 6 == 0) {
        std::unique_ptr<DeliveryChunk> chunk = queue.take();
        REQUIRE((chunk != nullptr) == !model.empty());
        if (chunk == nullptr) continue;
        for (uint32_t i = 0; i < chunk->count(); ++i) {
          const Record& record = chunk->records()[i];
          REQUIRE(record.slot == model.front().first);
          if (record.b != 0) REQUIRE(text_of(*chunk, record) == model.front().second);
          const uint64_t cost = model.front().second.size() + sizeof(Record);
          waiting[record.slot] -= cost;
          pending -= cost;
          model.pop_front();
        }
        const size_t cost = chunk->cost();
        const bool resume = queue.finish(std::move(chunk), cost);
        is_full = is_full && pending > limits.total / 2;
        std::vector<ConnectionId> resumable;
        if (resume) queue.take_resumable(1 + random() % 20, &resumable);
        for (const ConnectionId id : resumable) {
          REQUIRE(parked[id.slot]);
          parked[id.slot] = false;
        }
      }
      REQUIRE(queue.depth().bytes == pending);
    }
    bool resume = false;
    while (drain_one(queue, &resume)) {
    }
    std::vector<ConnectionId> resumable;
    queue.take_resumable(kConnections, &resumable);
    for (const ConnectionId id : resumable) parked[id.slot] = false;
    for (uint32_t slot = 0; slot < kConnections; ++slot) CHECK_FALSE(parked[slot]);
    CHECK(queue.depth().bytes == 0);
  }
}

namespace {

// I/O threads, each with some connections, and a thread that drains when it is woken, as in Engine.
struct Harness {
  static constexpr uint32_t kThreads = 4;
  static constexpr uint32_t kPerThread = 8;
  static constexpr uint32_t kPackets = 400;

  explicit Harness(DeliveryLimits limits) : queue(limits) {}

  void wake() {
    std::lock_guard<std::mutex> guard(mutex);
    ++wakes;
    changed.notify_one();
  }

  void produce(uint32_t thread) {
    std::mt19937 random(thread);
    std::vector<uint32_t> next(kPerThread, 0);
    uint32_t open = kPerThread;
    std::string text;
    while (open != 0) {
      bool moved = false;
      for (uint32_t i = 0; i < kPerThread; ++i) {
        const uint32_t slot = thread * kPerThread + i;
        if (next[i] == kPackets || parked[slot].load(std::memory_order_acquire)) continue;
        moved = true;
        text.assign(random() % 600, static_cast<char>(slot));
        Record record = packet_record(slot, next[i]);
        queue.append(record, text.data(), text.size(), &credits[slot]);
        if (++next[i] == kPackets) {
          --open;
          continue;
        }
        // Whoever drains may name it at once, so the mark is set before it can be parked.
        parked[slot].store(true, std::memory_order_release);
        if (!queue.park_if_full({slot, 1}, &credits[slot])) {
          parked[slot].store(false, std::memory_order_release);
        }
      }
      if (queue.needs_wake()) wake();
      if (!moved) std::this_thread::yield();
    }
  }

  void resume() {
    std::vector<ConnectionId> ids;
    do {
      ids.clear();
      queue.take_resumable(5, &ids);
      for (const ConnectionId id : ids) parked[id.slot].store(false, std::memory_order_release);
    } while (ids.size() == 5);
  }

  // False when packets are missing although nobody has woken it for a long time.
  bool drain() {
    uint32_t received = 0;
    std::vector<uint32_t> expected(kThreads * kPerThread, 0);
    while (received < kThreads * kPerThread * kPackets) {
      {
        std::unique_lock<std::mutex> guard(mutex);
        const bool woken = changed.wait_for(guard, std::chrono::seconds(20), [&] { return wakes != 0; });
        if (!woken) return false;
        if (--wakes != 0) ++surplus_wakes;
      }
      for (;;) {
        std::unique_ptr<DeliveryChunk> chunk = queue.take();
        if (chunk == nullptr) {
          if (queue.end_drain()) continue;
          break;
        }
        for (uint32_t i = 0; i < chunk->count(); ++i) {
          const Record& record = chunk->records()[i];
          if (record.c != expected[record.slot]++) ++disorder;
          for (uint32_t at = 0; at < record.b; at += 97) {
            if (chunk->payload()[record.a + at] != static_cast<uint8_t>(record.slot)) ++disorder;
          }
          ++received;
        }
        const size_t cost = chunk->cost();
        if (queue.finish(std::move(chunk), cost)) resume();
      }
    }
    return true;
  }

  Queue queue;
  std::mutex mutex;
  std::condition_variable changed;
  int wakes = 0;
  int surplus_wakes = 0;
  int disorder = 0;
  DeliveryCredit credits[kThreads * kPerThread];
  std::atomic<bool> parked[kThreads * kPerThread] = {};
};

void run_harness(DeliveryLimits limits) {
  Harness harness(limits);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < Harness::kThreads; ++t) {
    threads.emplace_back([&harness, t] { harness.produce(t); });
  }
  const bool complete = harness.drain();
  REQUIRE(complete);
  for (std::thread& thread : threads) thread.join();
  CHECK(harness.disorder == 0);
  CHECK(harness.surplus_wakes == 0);
  CHECK(harness.queue.depth().bytes == 0);
  CHECK(harness.queue.depth().parked == 0);
  // Every thread may be one packet over the bound, and the last packet of a connection is not held.
  const uint64_t packet = 600 + sizeof(Record);
  CHECK(harness.queue.depth().peak_bytes <= limits.total + Harness::kThreads * Harness::kPerThread * packet);
}

}  // namespace

TEST_CASE("delivery_queue stress: no record lost or out of order, no lost wake-up") { run_harness(DeliveryLimits{}); }

TEST_CASE("delivery_queue stress: bounded while JavaScript is slow, and everybody goes on") {
  run_harness({20000, 1u << 20});
  run_harness({1u << 20, 2000});
  run_harness({3000, 500});
}

namespace {

uint8_t* block_of(const std::string& text) {
  size_t capacity = 0;
  uint8_t* block = PayloadMemory::allocate(text.size(), &capacity);
  std::memcpy(block, text.data(), text.size());
  return block;
}

}  // namespace

TEST_CASE("delivery_queue: a block comes as it is, in its place among the others, and is counted whole") {
  Queue queue(DeliveryLimits{});
  DeliveryCredit credit;
  const std::string big(100 * 1024, 'b');
  append(queue, 1, 1, "before", &credit);
  uint8_t* const block = block_of("head" + big);
  {
    Queue::Writer writer(queue);
    writer.append_block(packet_record(1, 2), block, big.size() + 4, 4, &credit);
  }
  append(queue, 1, 3, "after", &credit);
  queue.append({static_cast<uint32_t>(RecordKind::close), 1, 1, 2, 3, 4}, nullptr, 0, &credit);
  CHECK(queue.depth().bytes == 6 + 4 + big.size() + 5 + 4 * sizeof(Record));
  CHECK(credit.bytes == queue.depth().bytes);

  std::vector<std::string> texts;
  bool in_place = false;
  while (std::unique_ptr<DeliveryChunk> chunk = queue.take()) {
    for (uint32_t i = 0; i < chunk->count(); ++i) {
      const Record& record = chunk->records()[i];
      if (record.kind != static_cast<uint32_t>(RecordKind::packet)) continue;
      texts.push_back(text_of(*chunk, record));
      if (record.c == 2) in_place = chunk->payload() == block;
    }
    const size_t cost = chunk->cost();
    queue.finish(std::move(chunk), cost);
  }
  CHECK(texts == std::vector<std::string>{"before", big, "after"});
  CHECK(in_place);
  CHECK(queue.depth().bytes == 0);
}

TEST_CASE("delivery_queue: a chunk whose block went is used again for copies and for blocks") {
  Queue queue(DeliveryLimits{});
  for (int round = 0; round < 8; ++round) {
    const std::string text = "round " + std::to_string(round);
    if (round % 2 == 0) {
      Queue::Writer(queue).append_block(packet_record(1, 0), block_of(text), text.size(), 0, nullptr);
    } else {
      append(queue, 1, 0, text);
    }
    std::unique_ptr<DeliveryChunk> chunk = queue.take();
    REQUIRE(chunk != nullptr);
    CHECK(text_of(*chunk, chunk->records()[0]) == text);
    const size_t cost = chunk->cost();
    if (round % 4 < 2) PayloadMemory::free(chunk->release_payload());
    queue.finish(std::move(chunk), cost);
    CHECK(queue.depth().bytes == 0);
  }
}

TEST_CASE("delivery_queue: a gathered record that fills the queue is published, because whoever has parked waits") {
  DeliveryLimits limits;
  limits.total = 100;
  Queue queue(limits);
  const std::string most(200, 'x');
  queue.append_gathered(packet_record(1, 1), most.data(), most.size());
  DeliveryCredit credit;
  CHECK(queue.park_if_full({2, 1}, &credit));
  CHECK(queue.needs_wake());
  bool may_resume = false;
  CHECK(drain_one(queue, &may_resume));
  CHECK(may_resume);
}

TEST_CASE("delivery_queue: nobody is woken for a gathered record before it is published") {
  Queue queue(DeliveryLimits{});
  const auto gather = [&](uint32_t number) { queue.append_gathered(packet_record(1, number), "x", 1); };
  gather(1);
  CHECK_FALSE(queue.needs_wake());
  CHECK_FALSE(queue.empty());

  SUBCASE("by itself") {
    queue.publish_gathered();
    CHECK(queue.needs_wake());
  }
  SUBCASE("by another record, in the sequence of both") {
    gather(2);
    append(queue, 1, 3, "y");
    CHECK(queue.needs_wake());
    std::unique_ptr<DeliveryChunk> chunk = queue.take();
    REQUIRE(chunk->count() == 3);
    for (uint32_t i = 0; i < 3; ++i) CHECK(chunk->records()[i].c == i + 1);
  }
  SUBCASE("not when a drain has taken it along") {
    CHECK(drain_one(queue));
    CHECK_FALSE(drain_one(queue));
    CHECK_FALSE(queue.end_drain());
    CHECK(queue.empty());
    queue.publish_gathered();
    CHECK_FALSE(queue.needs_wake());
  }
  SUBCASE("also when it came at the end of a drain") {
    CHECK(drain_one(queue));
    CHECK_FALSE(drain_one(queue));
    gather(2);
    CHECK_FALSE(queue.end_drain());
    queue.publish_gathered();
    CHECK(queue.needs_wake());
    CHECK(drain_one(queue));
  }
}
