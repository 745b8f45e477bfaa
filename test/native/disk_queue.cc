#include "core/disk_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

class Signal {
 public:
  void wait(std::mutex& lock) { condition_.wait(lock); }
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;
};

using Queue = DiskQueue<std::mutex, Signal>;

struct Step final : DiskWork {
  explicit Step(std::function<void()> body) : body(std::move(body)) {}
  void run_on_disk() override {
    CHECK(running.exchange(true) == false);
    body();
    running.store(false);
  }
  // The last count may go while the next one is there already.
  void hold_for_disk() override { held.fetch_add(1); }
  void let_go_of_disk() override { CHECK(held.fetch_sub(1) >= 1); }
  std::function<void()> body;
  std::atomic<int> held{0};
  std::atomic<bool> running{false};
};

// Threads that work until the end.
struct Threads {
  Threads(Queue* queue, int count, bool ends_only = false) : queue(queue) {
    for (int i = 0; i < count; ++i) {
      all.emplace_back([queue, ends_only] { queue->run(ends_only, [] {}); });
    }
  }
  ~Threads() {
    queue->stop();
    for (std::thread& one : all) one.join();
  }
  Queue* queue;
  std::vector<std::thread> all;
};

// Opens once.
class Gate {
 public:
  void open() {
    std::lock_guard<std::mutex> guard(lock_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock<std::mutex> guard(lock_);
    changed_.wait(guard, [this] { return open_; });
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool open_ = false;
};

}  // namespace

TEST_CASE("disk_queue: what asks often is queued once, and what asks while it runs runs again") {
  Queue queue;
  int runs = 0;
  Step* self = nullptr;
  Step step([&] {
    if (++runs == 1) {
      (void)queue.schedule(self, DiskLane::work);
      (void)queue.schedule(self, DiskLane::work);
    }
  });
  self = &step;
  for (int i = 0; i < 10; ++i) (void)queue.schedule(&step, DiskLane::work);
  CHECK(queue.depth().queued == 1);
  CHECK(step.held == 1);
  queue.stop();
  queue.run(false, [] {});
  CHECK(runs == 2);
  CHECK(step.held == 0);
  CHECK(queue.depth().queued == 0);
}

TEST_CASE("disk_queue: each has its turn, ends go first") {
  Queue queue;
  std::string order;
  std::vector<std::unique_ptr<Step>> steps;
  for (const char name : {'a', 'b', 'c', 'd'}) {
    steps.push_back(std::make_unique<Step>([&order, &queue, &steps, name] {
      order += name;
      // The first one always has more to do.
      if (name == 'a' && order.size() < 8) (void)queue.schedule(steps[0].get(), DiskLane::work);
    }));
  }
  for (int i = 0; i < 3; ++i) (void)queue.schedule(steps[i].get(), DiskLane::work);
  (void)queue.schedule(steps[3].get(), DiskLane::end);
  CHECK(queue.schedule(steps[2].get(), DiskLane::end));  // nobody is there to take it
  queue.stop();
  queue.run(false, [] {});
  CHECK(order == "dcabaaaa");
}

TEST_CASE("disk_queue: what waits can be hurried, what does not is left alone") {
  Queue queue;
  std::string order;
  Step a([&] { order += 'a'; });
  Step b([&] { order += 'b'; });
  CHECK_FALSE(queue.hurry(&b));
  CHECK(b.held == 0);
  (void)queue.schedule(&a, DiskLane::work);
  (void)queue.schedule(&b, DiskLane::work);
  (void)queue.hurry(&b);
  CHECK_FALSE(queue.hurry(&b));
  queue.stop();
  queue.run(false, [] {});
  CHECK(order == "ba");
}

TEST_CASE("disk_queue: an end has a thread when all others wait for their disks") {
  Queue queue;
  Gate gate;
  Gate ended;
  Gate both_wait[2];
  Step first([&] {
    both_wait[0].open();
    gate.pass();
  });
  Step second([&] {
    both_wait[1].open();
    gate.pass();
  });
  Step behind([] {});
  Step end([&] { ended.open(); });
  {
    // Joined before the counts are looked at.
    Threads ends(&queue, 1, true);
    Threads threads(&queue, 2);
    (void)queue.schedule(&first, DiskLane::work);
    (void)queue.schedule(&second, DiskLane::work);
    for (Gate& one : both_wait) one.pass();
    CHECK(queue.depth().running == 2);
    (void)queue.schedule(&behind, DiskLane::work);
    CHECK(queue.schedule(&end, DiskLane::end));
    ended.pass();  // for ever, if nobody took it
    (void)queue.hurry(&behind);
    gate.open();
  }
  CHECK(first.held + second.held + behind.held + end.held == 0);
}

TEST_CASE("disk_queue: many threads lose no run, and never run one work twice at a time") {
  Queue queue;
  constexpr int kWorks = 12;
  constexpr int kAsks = 4000;
  // What each has been asked for and has not done; as with a file, the wish is left before it is scheduled.
  std::atomic<int> due[kWorks]{};
  std::atomic<int> done{0};
  std::vector<std::unique_ptr<Step>> steps;
  for (int i = 0; i < kWorks; ++i) {
    steps.push_back(std::make_unique<Step>([&due, &done, &queue, &steps, i] {
      if (due[i].load() == 0) return;
      done.fetch_add(1);
      if (due[i].fetch_sub(1) > 1) (void)queue.schedule(steps[i].get(), DiskLane::work);
    }));
  }
  {
    Threads ends(&queue, 1, true);
    Threads threads(&queue, 3);
    std::vector<std::thread> askers;
    for (int t = 0; t < 3; ++t) {
      askers.emplace_back([&, t] {
        std::mt19937 random(static_cast<unsigned>(t));
        for (int n = 0; n < kAsks; ++n) {
          const int i = static_cast<int>(random() % kWorks);
          due[i].fetch_add(1);
          (void)queue.schedule(steps[i].get(), random() % 4 == 0 ? DiskLane::end : DiskLane::work);
          if (random() % 8 == 0) (void)queue.hurry(steps[random() % kWorks].get());
        }
      });
    }
    for (std::thread& one : askers) one.join();
  }
  CHECK(done == 3 * kAsks);
  for (const auto& step : steps) CHECK(step->held == 0);
}

TEST_CASE("disk_queue: what is hurried while it runs and has more to do goes with the ends") {
  Queue queue;
  std::atomic<int> entered{0};
  std::atomic<bool> go{false};
  std::atomic<bool> hang{true};
  std::atomic<int> runs{0};
  Step* own = nullptr;
  Step file([&] {
    if (runs.fetch_add(1) != 0) return;
    (void)queue.schedule(own, DiskLane::work);
    entered.fetch_add(1);
    while (!go.load()) std::this_thread::yield();
  });
  own = &file;
  Step stuck([&] {
    entered.fetch_add(1);
    while (hang.load()) std::this_thread::yield();
  });
  {
    Threads worker(&queue, 1);
    Threads ends(&queue, 1, true);
    (void)queue.schedule(&file, DiskLane::work);
    while (entered.load() != 1) std::this_thread::yield();
    (void)queue.schedule(&stuck, DiskLane::work);
    CHECK_FALSE(queue.hurry(&file));
    go.store(true);
    // Whichever of the two the worker takes first, the file's end does not wait for the one that hangs.
    while (file.held.load() != 0) std::this_thread::yield();
    CHECK(runs.load() == 2);
    hang.store(false);
  }
  CHECK(stuck.held.load() == 0);
}
