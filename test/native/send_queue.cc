#include "core/send_queue.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

// A payload that is not copied; tells when nobody holds it any more.
class TestOwner final : public SendBuffer {
 public:
  TestOwner(std::string text, std::atomic<int>* alive) : text_(std::move(text)), alive_(alive) { alive_->fetch_add(1); }
  ByteSpan span() const { return {reinterpret_cast<const uint8_t*>(text_.data()), text_.size()}; }

 private:
  void destroy() override {
    alive_->fetch_sub(1);
    delete this;
  }
  std::string text_;
  std::atomic<int>* alive_;
};

ByteSpan span_of(const std::string& text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

void push(SendQueue& queue, const std::string& text, uint32_t token = 0) {
  queue.push_copy({nullptr, 0}, span_of(text), {nullptr, 0}, token);
}

// Begins a write and returns what the system would see.
std::string gather(SendQueue& queue, size_t max_spans = 64, size_t max_bytes = 1u << 20) {
  std::vector<ByteSpan> spans(max_spans);
  const size_t count = queue.gather(spans.data(), max_spans, max_bytes);
  REQUIRE(count <= max_spans);
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    out.append(reinterpret_cast<const char*>(spans[i].data), spans[i].size);
  }
  return out;
}

}  // namespace

TEST_CASE("send_queue: packets of one tick leave as one span") {
  SendQueue queue;
  for (int i = 0; i < 10; ++i) {
    queue.push_copy(span_of("head"), span_of("payload"), span_of("t"), 0);
  }
  ByteSpan spans[4];
  CHECK(queue.gather(spans, 4, 1u << 20) == 1);
  CHECK(spans[0].size == 120);
  CHECK(queue.in_flight());
  SendQueue::Finished finished;
  queue.complete(120, &finished);
  CHECK(finished.packets == 10);
  CHECK(finished.bytes == 120);
  CHECK(queue.empty());
  CHECK_FALSE(queue.in_flight());
}

TEST_CASE("send_queue: a short write goes on where it stopped (facts 5)") {
  SendQueue queue;
  push(queue, "hello", 1);
  push(queue, "world", 2);
  SendQueue::Finished finished;
  CHECK(gather(queue) == "helloworld");
  queue.complete(3, &finished);
  CHECK(finished.packets == 0);
  CHECK(queue.totals().bytes == 7);
  CHECK(queue.totals().packets == 2);
  CHECK(gather(queue) == "loworld");
  queue.complete(4, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1});
  CHECK(gather(queue) == "rld");
  queue.complete(0, &finished);
  CHECK(gather(queue) == "rld");
  queue.complete(3, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1, 2});
  CHECK(queue.totals().bytes == 0);
}

TEST_CASE("send_queue: what is pushed during a write waits for the next one") {
  SendQueue queue;
  push(queue, "a");
  CHECK(gather(queue) == "a");
  push(queue, "b");
  CHECK(queue.totals().bytes == 2);
  queue.complete(1, nullptr);
  CHECK(gather(queue) == "b");
  queue.complete(1, nullptr);
  CHECK(queue.empty());
}

TEST_CASE("send_queue: empty packets are told too") {
  SendQueue queue;
  push(queue, "", 1);
  SendQueue::Finished finished;
  CHECK_FALSE(queue.empty());
  gather(queue);
  CHECK(queue.in_flight());
  queue.complete(0, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1});
  CHECK(queue.empty());
  push(queue, "x", 2);
  push(queue, "", 3);
  push(queue, "", 4);
  push(queue, "y", 5);
  CHECK(gather(queue) == "xy");
  queue.complete(1, &finished);
  queue.complete(1, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1, 2, 3, 4, 5});
}

TEST_CASE("send_queue: a write that failed leaves everything, an empty packet at the front too") {
  SendQueue queue;
  push(queue, "", 1);
  push(queue, "x", 2);
  CHECK(gather(queue) == "x");
  queue.give_up();
  CHECK_FALSE(queue.in_flight());
  CHECK(queue.totals().packets == 2);
  CHECK(gather(queue) == "x");
  SendQueue::Finished finished;
  queue.complete(1, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1, 2});
}

TEST_CASE("send_queue: a pinned payload is let go when it has left, and on every other way out") {
  std::atomic<int> alive{0};
  const std::string text(100000, 'p');
  SendQueue::Finished finished;
  {
    SendQueue queue;
    auto pin = [&](uint32_t token) {
      auto* owner = new TestOwner(text, &alive);
      queue.push_owned(span_of("h"), owner->span(), span_of("t"), owner, token);
    };
    pin(1);
    CHECK(gather(queue) == "h" + text + "t");
    queue.complete(50000, &finished);
    CHECK(alive == 1);
    gather(queue);
    queue.complete(50002, &finished);
    CHECK(alive == 0);
    CHECK(finished.tokens == std::vector<uint32_t>{1});

    pin(2);
    pin(3);
    queue.drop_oldest(1, 1, &finished);
    CHECK(alive == 1);
    CHECK(finished.tokens == std::vector<uint32_t>{1, 2});
    queue.clear(&finished);
    CHECK(alive == 0);
    CHECK(finished.tokens == std::vector<uint32_t>{1, 2, 3});
    pin(4);
    gather(queue);
  }
  CHECK(alive == 0);
}

TEST_CASE("send_queue: drop-oldest takes no packet of which a byte has gone or is going") {
  SendQueue queue;
  SendQueue::Finished finished;
  push(queue, "first", 1);
  push(queue, "second", 2);
  push(queue, "third", 3);
  CHECK(gather(queue, 64, 5) == "first");
  queue.drop_oldest(1, 0, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2});
  queue.complete(2, nullptr);
  queue.drop_oldest(100, 100, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2, 3});
  CHECK(queue.totals().bytes == 3);
  CHECK(queue.totals().packets == 1);
  CHECK(gather(queue) == "rst");
}

TEST_CASE("send_queue: drop-oldest spares packets that last, wherever they stand") {
  SendQueue queue;
  SendQueue::Finished finished;
  push(queue, "in flight", 1);
  CHECK(gather(queue) == "in flight");
  queue.push_lasting(span_of("h"), span_of("done"), span_of("t"));
  push(queue, "old", 2);
  push(queue, "older", 3);
  queue.push_lasting({nullptr, 0}, span_of("accept"), {nullptr, 0});
  push(queue, "new", 4);
  queue.drop_oldest(4, 0, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2, 3});
  CHECK(finished.packets == 2);
  CHECK(finished.bytes == 8);
  queue.drop_oldest(100, 100, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2, 3, 4});
  queue.complete(9, &finished);
  CHECK(queue.totals().packets == 2);
  CHECK(gather(queue) == "hdonetaccept");
  queue.complete(12, &finished);
  CHECK(queue.empty());
}

TEST_CASE("send_queue: drop-oldest spares a packet whose header went alone") {
  std::atomic<int> alive{0};
  SendQueue queue;
  SendQueue::Finished finished;
  for (uint32_t token = 1; token <= 2; ++token) {
    auto* owner = new TestOwner("payload", &alive);
    queue.push_owned(span_of("head"), owner->span(), {nullptr, 0}, owner, token);
  }
  CHECK(gather(queue, 1) == "head");
  SUBCASE("while it is in flight") {
    queue.drop_oldest(1, 1, &finished);
    queue.complete(4, &finished);
  }
  SUBCASE("after it has gone") {
    queue.complete(4, &finished);
    queue.drop_oldest(1, 1, &finished);
  }
  CHECK(finished.tokens == std::vector<uint32_t>{2});
  CHECK(gather(queue) == "payload");
  queue.complete(7, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2, 1});
  CHECK(alive == 0);
}

TEST_CASE("send_queue: clear leaves what is in the hands of the system") {
  SendQueue queue;
  SendQueue::Finished finished;
  push(queue, std::string(3000, 'a'), 1);
  push(queue, std::string(9000, 'b'), 2);
  const std::string going = gather(queue, 1, 3000);
  REQUIRE(going.size() == 3000);
  queue.clear(&finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2});
  CHECK(queue.totals().bytes == 3000);
  queue.complete(3000, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{2, 1});
  CHECK(queue.empty());
  CHECK(queue.totals().bytes == 0);
}

namespace {

struct ModelPacket {
  std::string bytes;
  uint32_t token;
  size_t sent = 0;
};

// The queue as a plain list of packets.
class Model {
 public:
  void push(std::string bytes, uint32_t token) { packets.push_back({std::move(bytes), token}); }

  std::string head(size_t size) const {
    std::string out;
    for (const ModelPacket& packet : packets) {
      if (out.size() >= size) break;
      out.append(packet.bytes, packet.sent, size - out.size());
    }
    return out;
  }
  void complete(size_t size, std::vector<uint32_t>* tokens) {
    in_flight = 0;
    while (!packets.empty()) {
      ModelPacket& front = packets.front();
      const size_t step = std::min(size, front.bytes.size() - front.sent);
      front.sent += step;
      size -= step;
      if (front.sent < front.bytes.size()) return;
      if (front.token != 0) tokens->push_back(front.token);
      packets.pop_front();
      if (size == 0) return;
    }
  }
  size_t first_untouched() const {
    size_t reach = 0;
    for (size_t i = 0; i < packets.size(); ++i) {
      if (packets[i].sent == 0 && reach >= in_flight) return i;
      reach += packets[i].bytes.size() - packets[i].sent;
    }
    return packets.size();
  }
  void drop_oldest(uint64_t bytes, uint32_t count, std::vector<uint32_t>* tokens) {
    const size_t at = first_untouched();
    uint64_t gone_bytes = 0;
    uint32_t gone = 0;
    while (at < packets.size() && (gone_bytes < bytes || gone < count)) {
      gone_bytes += packets[at].bytes.size();
      ++gone;
      if (packets[at].token != 0) tokens->push_back(packets[at].token);
      packets.erase(packets.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const ModelPacket& packet : packets) sum += packet.bytes.size() - packet.sent;
    return sum;
  }

  std::deque<ModelPacket> packets;
  size_t in_flight = 0;
};

std::string random_text(std::mt19937& random, size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random() & 0xff);
  return text;
}

void compare_with_model(unsigned seed) {
  std::mt19937 random(seed);
  std::atomic<int> alive{0};
  {
    SendQueue queue;
    Model model;
    uint32_t next_token = 1;
    std::vector<ByteSpan> spans(8);
    size_t span_count = 0;
    for (int step = 0; step < 3000; ++step) {
      SendQueue::Finished finished;
      std::vector<uint32_t> tokens;
      const auto choice = random() % 100;
      if (choice < 40) {
        const size_t size = 1 + random() % (random() % 10 == 0 ? 20000 : 200);
        const std::string header = random_text(random, random() % 3 == 0 ? 0 : 4);
        const std::string trailer = random_text(random, random() % 4 == 0 ? 2 : 0);
        const std::string payload = random_text(random, size);
        const uint32_t token = random() % 2 == 0 ? next_token++ : 0;
        if (random() % 3 == 0) {
          auto* owner = new TestOwner(payload, &alive);
          queue.push_owned(span_of(header), owner->span(), span_of(trailer), owner, token);
        } else {
          queue.push_copy(span_of(header), span_of(payload), span_of(trailer), token);
        }
        model.push(header + payload + trailer, token);
      } else if (choice < 65) {
        if (!queue.in_flight() && !queue.empty()) {
          const size_t most_bytes = 1 + random() % 30000;
          const size_t most_spans = 1 + random() % spans.size();
          span_count = queue.gather(spans.data(), most_spans, most_bytes);
          REQUIRE(span_count > 0);
          REQUIRE(span_count <= most_spans);
          for (size_t i = 0; i < span_count; ++i) model.in_flight += spans[i].size;
          if (span_count > 1) REQUIRE(model.in_flight <= most_bytes);
        }
      } else if (choice < 92) {
        if (queue.in_flight()) {
          // Only now, so that everything that was done meanwhile must have left the spans alone.
          std::string seen;
          for (size_t i = 0; i < span_count; ++i) {
            seen.append(reinterpret_cast<const char*>(spans[i].data), spans[i].size);
          }
          REQUIRE(seen == model.head(model.in_flight));
          const size_t taken = random() % 3 == 0 ? random() % (seen.size() + 1) : seen.size();
          queue.complete(taken, &finished);
          model.complete(taken, &tokens);
        }
      } else if (choice < 99) {
        const uint64_t bytes = random() % 2000;
        const uint32_t count = static_cast<uint32_t>(random() % 4);
        queue.drop_oldest(bytes, count, &finished);
        model.drop_oldest(bytes, count, &tokens);
      } else if (!queue.in_flight()) {
        queue.clear(&finished);
        for (const ModelPacket& packet : model.packets) {
          if (packet.token != 0) tokens.push_back(packet.token);
        }
        model.packets.clear();
      }
      REQUIRE(finished.tokens == tokens);
      REQUIRE(queue.totals().bytes == model.bytes());
      REQUIRE(queue.totals().packets == model.packets.size());
      REQUIRE(queue.empty() == model.packets.empty());
    }
  }
  CHECK(alive == 0);
}

}  // namespace

TEST_CASE("send_queue: agrees with a plain list of packets under random use") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    compare_with_model(seed);
  }
}

TEST_CASE("send_queue stress: a broadcast's payload is shared by queues on several threads") {
  std::atomic<int> alive{0};
  constexpr int kThreads = 4;
  for (int round = 0; round < 200; ++round) {
    auto* owner = new TestOwner(std::string(500, 'b'), &alive);
    for (int i = 1; i < kThreads; ++i) owner->add_ref();
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([owner, t] {
        SendQueue queue;
        queue.push_owned(span_of("hd"), owner->span(), {nullptr, 0}, owner, 0);
        ByteSpan spans[4];
        queue.gather(spans, 4, 1u << 20);
        if (t % 2 == 0) queue.complete(502, nullptr);
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(alive == 0);
  }
}

TEST_CASE("send_queue stress: pushed on one thread, sent on another, under the connection's lock") {
  std::mutex mutex;
  SendQueue queue;
  constexpr uint32_t kPackets = 3000;
  std::vector<uint32_t> finished_tokens;
  std::thread sender([&] {
    std::mt19937 random(1);
    while (finished_tokens.size() < kPackets) {
      ByteSpan spans[8];
      size_t size = 0;
      {
        std::lock_guard<std::mutex> guard(mutex);
        const size_t count = queue.empty() ? 0 : queue.gather(spans, 8, 5000);
        for (size_t i = 0; i < count; ++i) size += spans[i].size;
      }
      if (size == 0) {
        std::this_thread::yield();
        continue;
      }
      // The spans are read without the lock, as the system does.
      uint8_t sum = 0;
      for (size_t at = 0; at < spans[0].size; ++at) {
        sum = static_cast<uint8_t>(sum + spans[0].data[at]);
      }
      SendQueue::Finished finished;
      std::lock_guard<std::mutex> guard(mutex);
      queue.complete(sum % 5 == 0 ? random() % (size + 1) : size, &finished);
      for (uint32_t token : finished.tokens) finished_tokens.push_back(token);
    }
  });
  for (uint32_t token = 1; token <= kPackets; ++token) {
    const std::string text(1 + token % 700, static_cast<char>(token));
    std::lock_guard<std::mutex> guard(mutex);
    queue.push_copy(span_of("h"), span_of(text), {nullptr, 0}, token);
  }
  sender.join();
  for (uint32_t i = 0; i < kPackets; ++i) REQUIRE(finished_tokens[i] == i + 1);
  CHECK(queue.empty());
}

TEST_CASE("send_queue: an item goes in its turn and stops a gather") {
  std::atomic<int> alive{0};
  SendQueue queue;
  push(queue, "before");
  auto* item = new TestOwner("", &alive);
  item->add_ref();
  queue.push_item(item);
  push(queue, "behind");
  CHECK(queue.totals().packets == 2);
  CHECK(queue.totals().bytes == 12);
  CHECK(queue.front_item() == nullptr);
  CHECK(gather(queue) == "before");
  queue.complete(6, nullptr);
  CHECK(queue.front_item() == item);
  CHECK(gather(queue).empty());
  queue.begin_item();
  CHECK(queue.in_flight());
  CHECK(queue.end_item(false) == nullptr);  // not yet through: it stays in front
  CHECK(queue.front_item() == item);
  queue.begin_item();
  SendBuffer* back = queue.end_item(true);
  CHECK(back == item);
  back->release();
  CHECK(gather(queue) == "behind");
  queue.complete(6, nullptr);
  CHECK(queue.empty());
  CHECK(alive == 1);
  item->release();
  CHECK(alive == 0);
}

TEST_CASE("send_queue: items are neither dropped nor completed by bytes") {
  std::atomic<int> alive{0};
  SendQueue queue;
  auto* first = new TestOwner("", &alive);
  auto* second = new TestOwner("", &alive);
  queue.push_item(first);
  push(queue, "one", 1);
  queue.push_item(second);
  push(queue, "two", 2);
  push(queue, "three", 3);
  queue.complete(0, nullptr);  // a write of nothing
  CHECK(queue.front_item() == first);
  queue.begin_item();
  SendQueue::Finished dropped;
  queue.drop_oldest(4, 0, &dropped);
  CHECK(dropped.packets == 2);
  CHECK(dropped.tokens == std::vector<uint32_t>{1, 2});
  queue.end_item(true)->release();
  CHECK(queue.front_item() == second);
  CHECK(queue.remove_item(second));
  CHECK_FALSE(queue.remove_item(second));
  CHECK(alive == 0);
  CHECK(gather(queue) == "three");
  queue.complete(5, nullptr);
  CHECK(queue.empty());
}

TEST_CASE("send_queue: an item that a write has begun on stays until it ends") {
  std::atomic<int> alive{0};
  SendQueue queue;
  auto* item = new TestOwner("", &alive);
  queue.push_item(item);
  push(queue, "behind", 7);
  queue.begin_item();
  CHECK_FALSE(queue.remove_item(item));
  SendQueue::Finished unsent;
  queue.clear(&unsent);
  CHECK(unsent.tokens == std::vector<uint32_t>{7});
  CHECK(alive == 1);
  queue.end_item(true)->release();
  CHECK(alive == 0);
  CHECK(queue.empty());
}

TEST_CASE("send_queue: the blocks of a busy queue are used again, others are freed") {
  SendBlock* first = SendBlock::create(SendBlock::kSmall);
  first->grow(10)[0] = 1;
  first->release();
  SendBlock* again = SendBlock::create(SendBlock::kSmall);
  CHECK(again == first);
  CHECK(again->used() == 0);
  CHECK(again->room() == SendBlock::kSmall);
  SendBlock* big = SendBlock::create(SendBlock::kBig);
  CHECK(big->capacity() == SendBlock::kBig);
  SendBlock* odd = SendBlock::create(SendBlock::kBig + 1);
  CHECK(odd->room() == SendBlock::kBig + 1);
  std::vector<SendBlock*> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(SendBlock::create(SendBlock::kSmall));
    std::memset(many.back()->grow(SendBlock::kSmall), i, SendBlock::kSmall);
  }
  for (SendBlock* block : {again, big, odd}) block->release();
  for (int i = 0; i < 100; ++i) {
    const uint8_t* data = many[static_cast<size_t>(i)]->data();
    CHECK(data[0] == i);
    CHECK(data[SendBlock::kSmall - 1] == i);
    many[static_cast<size_t>(i)]->release();
  }
}

TEST_CASE("send_queue: what is pushed before an item goes before it, and behind what was there") {
  std::atomic<int> alive{0};
  SendQueue queue;
  auto* first = new TestOwner("", &alive);
  auto* second = new TestOwner("", &alive);
  push(queue, "a");
  queue.push_item(first);
  push(queue, "b");
  queue.push_item(second);
  push(queue, "c");
  const std::string one = "1";
  CHECK(queue.push_before(first, {nullptr, 0}, span_of(one), {nullptr, 0}));
  CHECK(queue.push_before(second, span_of("<"), span_of("2"), span_of(">")));
  CHECK(queue.push_before(first, {nullptr, 0}, span_of("3"), {nullptr, 0}));
  CHECK(queue.totals().bytes == 8);
  CHECK(gather(queue) == "a13");
  // In flight: what comes now has an entry of its own.
  CHECK(queue.push_before(first, {nullptr, 0}, span_of("4"), {nullptr, 0}));
  SendQueue::Finished finished;
  queue.complete(2, &finished);
  CHECK(gather(queue) == "34");
  queue.complete(2, &finished);
  CHECK(queue.front_item() == first);
  CHECK(gather(queue).empty());
  // In front of the item that is in front.
  CHECK(queue.push_before(first, {nullptr, 0}, span_of("5"), {nullptr, 0}));
  CHECK(gather(queue) == "5");
  queue.complete(1, &finished);
  queue.begin_item();
  CHECK_FALSE(queue.push_before(first, {nullptr, 0}, span_of("6"), {nullptr, 0}));
  queue.end_item(true)->release();
  CHECK(gather(queue) == "b<2>");
  queue.complete(4, &finished);
  CHECK(queue.remove_item(second));
  CHECK_FALSE(queue.push_before(second, {nullptr, 0}, span_of("7"), {nullptr, 0}));
  CHECK(gather(queue) == "c");
  queue.complete(1, &finished);
  CHECK(queue.empty());
  CHECK(queue.totals().bytes == 0);
  CHECK(queue.totals().packets == 0);
  CHECK(alive == 0);
}

TEST_CASE("send_queue: very many words before an item, wherever it stands, are few entries and stay in order") {
  for (const bool is_front : {true, false}) {
    std::atomic<int> alive{0};
    SendQueue queue;
    std::string wanted;
    for (int i = 0; i < (is_front ? 0 : 2000); ++i) {
      push(queue, "x");
      wanted += "x";
    }
    auto* item = new TestOwner("", &alive);
    queue.push_item(item);
    for (int i = 0; i < (is_front ? 2000 : 0); ++i) push(queue, "y");
    for (int i = 0; i < 100'000; ++i) {
      const std::string word(1, static_cast<char>('a' + i % 26));
      REQUIRE(queue.push_before(item, {nullptr, 0}, span_of(word), {nullptr, 0}));
      wanted += word;
    }
    std::string seen;
    while (queue.front_item() == nullptr) {
      const std::string some = gather(queue, 64, 1u << 20);
      REQUIRE(!some.empty());
      seen += some;
      queue.complete(some.size(), nullptr);
    }
    CHECK(seen == wanted);
    CHECK(queue.remove_item(item));
    CHECK(queue.totals().bytes == (is_front ? 2000 : 0));
    CHECK(alive == 0);
  }
}

TEST_CASE("send_queue: what stands before all packets stays, and counts as none of them") {
  SendQueue queue;
  queue.push_preface(span_of("preface"));
  CHECK_FALSE(queue.empty());
  CHECK(queue.totals().packets == 0);
  CHECK(queue.totals().bytes == 0);
  push(queue, "one", 1);
  push(queue, "two", 2);
  CHECK(queue.totals().packets == 2);
  CHECK(queue.totals().bytes == 6);
  SendQueue::Finished finished;
  // A part of it has gone: the packet behind it has not begun, and may go.
  CHECK(gather(queue, 64, 3) == "pre");
  queue.complete(3, &finished);
  CHECK(finished.packets == 0);
  CHECK(queue.totals().bytes == 6);
  queue.drop_oldest(1, 0, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1});
  CHECK(finished.bytes == 3);
  CHECK(gather(queue) == "facetwo");
  // All of it and a part of the next one: that has begun.
  queue.complete(5, &finished);
  CHECK(queue.totals().bytes == 2);
  CHECK(queue.totals().packets == 1);
  queue.drop_oldest(100, 100, &finished);
  CHECK(gather(queue) == "wo");
  queue.complete(2, &finished);
  CHECK(finished.tokens == std::vector<uint32_t>{1, 2});
  CHECK(queue.empty());
  CHECK(queue.totals().bytes == 0);
  // Whole, and nothing behind it: the next packet is at its beginning.
  queue.push_preface(span_of("again"));
  push(queue, "three", 3);
  CHECK(gather(queue, 64, 5) == "again");
  queue.complete(5, &finished);
  queue.drop_oldest(100, 100, &finished);
  CHECK(queue.empty());
  queue.push_preface(span_of("never"));
  SendQueue::Finished unsent;
  queue.clear(&unsent);
  CHECK(unsent.packets == 0);
  CHECK(unsent.bytes == 0);
  CHECK(queue.totals().bytes == 0);
}
