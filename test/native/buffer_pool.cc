#include "core/buffer_pool.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "core/free_list.h"

using namespace iocp;

namespace {

using Pool = BufferPool<std::mutex>;
using Buffer = PooledBuffer<std::mutex>;

void fill_and_release(Pool& pool, size_t count) {
  std::vector<Buffer> buffers;
  for (size_t i = 0; i < count; ++i) buffers.push_back(pool.get());
}

}  // namespace

TEST_CASE("buffer_pool: a released buffer is used again before a new one is made") {
  Pool pool(4096, 0);
  uint8_t* first = nullptr;
  {
    Buffer buffer = pool.get();
    REQUIRE(buffer);
    CHECK(buffer.size() == 4096);
    std::memset(buffer.data(), 1, buffer.size());
    first = buffer.data();
    CHECK(pool.stats().in_use == 1);
    CHECK(pool.stats().free == 0);
  }
  CHECK(pool.stats().in_use == 0);
  CHECK(pool.stats().free == 1);
  Buffer again = pool.get();
  CHECK(again.data() == first);
  CHECK(pool.stats().allocations == 1);
}

TEST_CASE("buffer_pool: maxFreeBuffers 0 keeps all, -1 keeps none, n keeps n") {
  Pool all(64, 0);
  Pool none(64, -1);
  Pool three(64, 3);
  for (Pool* pool : {&all, &none, &three}) fill_and_release(*pool, 10);
  CHECK(all.stats().free == 10);
  CHECK(none.stats().free == 0);
  CHECK(three.stats().free == 3);
  fill_and_release(none, 10);
  CHECK(none.stats().allocations == 20);
  CHECK(none.stats().peak == 10);
}

TEST_CASE("buffer_pool: trim frees all unused buffers but some") {
  Pool pool(64, 0);
  Buffer held = pool.get();
  fill_and_release(pool, 10);
  pool.trim(4);
  CHECK(pool.stats().free == 4);
  pool.trim(100);
  CHECK(pool.stats().free == 4);
  pool.trim(0);
  CHECK(pool.stats().free == 0);
  CHECK(pool.stats().in_use == 1);
}

TEST_CASE("buffer_pool: memory goes down after a peak") {
  Pool pool(64, 0);
  fill_and_release(pool, 100);
  pool.decay();  // this period had the peak in it: everything was needed at some moment
  CHECK(pool.stats().free == 100);
  for (int i = 0; i < 5; ++i) fill_and_release(pool, 10);
  pool.decay();
  CHECK(pool.stats().free == 10);
  pool.decay();  // nothing was needed at all
  CHECK(pool.stats().free == 0);
}

TEST_CASE("buffer_pool: a steady load allocates nothing however often it decays") {
  Pool pool(64, 0);
  fill_and_release(pool, 20);
  for (int period = 0; period < 10; ++period) {
    fill_and_release(pool, 20);
    pool.decay();
  }
  CHECK(pool.stats().allocations == 20);
}

TEST_CASE("buffer_pool: a handle that was moved from releases nothing") {
  Pool pool(64, 0);
  Buffer a = pool.get();
  Buffer b = std::move(a);
  CHECK_FALSE(a);
  CHECK(a.size() == 0);
  Buffer c = pool.get();
  c = std::move(b);
  CHECK(pool.stats().in_use == 1);
  uint8_t* raw = c.detach();
  c.reset();
  CHECK(pool.stats().in_use == 1);
  pool.release(raw);
  CHECK(pool.stats().in_use == 0);
}

TEST_CASE("free_list: objects are made anew in recycled memory") {
  struct Context {
    explicit Context(int* count) : alive(count) { ++*alive; }
    ~Context() { --*alive; }
    int* alive;
    int packets = 0;
  };
  int alive = 0;
  FreeList<Context, std::mutex> contexts(0);
  Context* first = contexts.create(&alive);
  first->packets = 5;
  contexts.destroy(first);
  CHECK(alive == 0);
  Context* second = contexts.create(&alive);
  CHECK(second == first);
  CHECK(second->packets == 0);
  CHECK(alive == 1);
  contexts.destroy(second);
}

TEST_CASE("free_list: 100,000 connects and disconnects leave memory where it was") {
  struct Context {
    uint8_t bytes[200];
  };
  FreeList<Context, std::mutex> contexts(0);
  std::vector<Context*> open;
  for (int i = 0; i < 100000; ++i) {
    open.push_back(contexts.create());
    if (open.size() == 500) {
      for (Context* context : open) contexts.destroy(context);
      open.clear();
    }
  }
  CHECK(contexts.stats().in_use == 0);
  CHECK(contexts.stats().allocations == 500);
}

TEST_CASE("buffer_pool stress: no two threads ever hold the same buffer") {
  Pool pool(256, 40);
  std::atomic<int> damaged{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<Buffer> held;
      for (int i = 0; i < 5000; ++i) {
        if (held.size() < 30 && random() % 2 == 0) {
          held.push_back(pool.get());
          std::memset(held.back().data(), t + 1, 256);
        } else if (!held.empty()) {
          const Buffer buffer = std::move(held.back());
          held.pop_back();
          for (size_t at = 0; at < 256; at += 51) {
            if (buffer.data()[at] != t + 1) damaged.fetch_add(1);
          }
        }
        if (i % 500 == 0) pool.decay();
        if (i % 700 == 0) pool.trim(3);
        if (i % 90 == 0) static_cast<void>(pool.stats());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(damaged.load() == 0);
  CHECK(pool.stats().in_use == 0);
  CHECK(pool.stats().free <= 40);
}
