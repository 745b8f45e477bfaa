#include "core/job_queue.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace iocp;

namespace {

class NoWaker final : public JobWaker {
 public:
  void wake() override {}
};

JobBytes bytes_of(const std::string& text) {
  JobBytes bytes;
  bytes.data.reset(new uint8_t[text.size() + 1]);
  std::memcpy(bytes.data.get(), text.data(), text.size());
  bytes.size = static_cast<uint32_t>(text.size());
  return bytes;
}

Job job_of(uint32_t connection, const std::string& text = "x", JobPriority priority = JobPriority::normal) {
  Job job;
  job.priority = priority;
  job.connection = {connection, connection == 0 ? 0u : 1u};
  job.bytes = bytes_of(text);
  return job;
}

std::string text_of(const JobQueue::Taken& taken) {
  return std::string(reinterpret_cast<const char*>(taken.data), taken.size);
}

// One thread plays everything.
struct Fixture {
  explicit Fixture(JobLimits limits = {}) : queue(limits) {}
  JobId add(Job job, JobQueue::AddResult expected = JobQueue::AddResult::queued) {
    JobId id;
    CHECK(queue.add(std::move(job), false, &id, &wakes) == expected);
    return id;
  }
  std::vector<std::string> take(WorkerSlot* worker, size_t most = 100) {
    taken.clear();
    queue.take(worker, most, &taken, &wakes);
    std::vector<std::string> texts;
    for (const auto& one : taken) texts.push_back(text_of(one));
    return texts;
  }
  bool complete(WorkerSlot* worker, uint32_t slot) { return queue.complete(worker, slot, &settled, &wakes); }
  WorkerSlot* worker(uint32_t number, uint32_t capacity) {
    workers.push_back(std::make_unique<WorkerSlot>());
    WorkerSlot* made = workers.back().get();
    made->number = number;
    made->capacity = capacity;
    made->waker = std::make_shared<NoWaker>();
    queue.attach(made);
    return made;
  }
  JobQueue queue;
  WakeList wakes;
  std::vector<JobQueue::Taken> taken;
  JobQueue::Settled settled{};
  std::vector<std::unique_ptr<WorkerSlot>> workers;
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("job_queue: jobs wait without workers and come out by priority, then by age") {
  Fixture f;
  f.add(job_of(0, "n1"));
  f.add(job_of(0, "l1", JobPriority::low));
  f.add(job_of(0, "h1", JobPriority::high));
  f.add(job_of(0, "n2"));
  CHECK(f.queue.counts().queued == 4);
  CHECK(f.queue.counts().bytes == 8);
  WorkerSlot* worker = f.worker(1, 10);
  CHECK(f.take(worker) == Texts{"h1", "n1", "n2", "l1"});
  CHECK(f.queue.counts().queued == 0);
  CHECK(f.queue.counts().running == 4);
  CHECK(f.queue.counts().bytes == 0);
}

TEST_CASE("job_queue: one job of a connection at a time, others pass it") {
  Fixture f;
  WorkerSlot* first = f.worker(1, 1);
  WorkerSlot* second = f.worker(2, 1);
  f.add(job_of(7, "a1"));
  f.add(job_of(7, "a2"));
  f.add(job_of(8, "b1"));
  CHECK(f.take(first) == Texts{"a1"});
  const uint32_t running = f.taken[0].id.slot;
  CHECK(f.take(second) == Texts{"b1"});
  const uint32_t other = f.taken[0].id.slot;
  CHECK(f.complete(second, other));
  CHECK(f.take(second).empty());
  CHECK(f.complete(first, running));
  CHECK(f.take(second) == Texts{"a2"});
  CHECK_FALSE(f.complete(first, f.taken[0].id.slot));  // another worker's
}

TEST_CASE("job_queue: without order a connection's jobs run side by side") {
  JobLimits limits;
  limits.ordered = false;
  Fixture f(limits);
  WorkerSlot* worker = f.worker(1, 10);
  f.add(job_of(7, "a1"));
  f.add(job_of(7, "a2"));
  CHECK(f.take(worker) == Texts{"a1", "a2"});
}

TEST_CASE("job_queue: bounded in jobs and in bytes, unless the caller stops by itself") {
  JobLimits limits;
  limits.max_queued = 2;
  limits.max_bytes = 10;
  Fixture f(limits);
  f.add(job_of(0, "x"));
  f.add(job_of(0, "x"));
  CHECK(f.queue.full());
  f.add(job_of(0, "x"), JobQueue::AddResult::full);
  JobId id;
  CHECK(f.queue.add(job_of(0, "x"), true, &id, &f.wakes) == JobQueue::AddResult::queued);
  WorkerSlot* worker = f.worker(1, 3);
  f.take(worker);
  CHECK(f.queue.has_room());
  f.add(job_of(0, "ten bytes!"));
  f.add(job_of(0, "x"), JobQueue::AddResult::full);
}

TEST_CASE("job_queue: a job that waits can be cancelled, also in the middle of a connection's") {
  Fixture f;
  const JobId first = f.add(job_of(7, "a1"));
  const JobId second = f.add(job_of(7, "a2"));
  f.add(job_of(7, "a3"));
  CHECK(f.queue.cancel(second, &f.settled, &f.wakes) == JobQueue::CancelResult::removed);
  CHECK(f.queue.cancel(second, &f.settled, &f.wakes) == JobQueue::CancelResult::gone);
  CHECK(f.queue.cancel(first, &f.settled, &f.wakes) == JobQueue::CancelResult::removed);
  WorkerSlot* worker = f.worker(1, 5);
  CHECK(f.take(worker) == Texts{"a3"});
}

TEST_CASE("job_queue: a cancelled job that runs is told to its worker and blocks nobody") {
  Fixture f;
  WorkerSlot* worker = f.worker(1, 1);
  const JobId id = f.add(job_of(7, "a1"));
  f.add(job_of(7, "a2"));
  f.take(worker);
  CHECK(f.queue.runs(worker, id.slot));
  CHECK(f.queue.cancel(id, &f.settled, &f.wakes) == JobQueue::CancelResult::running);
  CHECK_FALSE(f.settled.abandoned);
  CHECK_FALSE(f.queue.runs(worker, id.slot));
  CHECK(f.queue.is_stuck(id));
  CHECK(f.queue.counts().running == 0);
  WorkerSlot* other = f.worker(2, 1);
  CHECK(f.take(other) == Texts{"a2"});
  std::vector<uint32_t> aborts;
  f.queue.take_aborts(worker, &aborts);
  CHECK(aborts == std::vector<uint32_t>{id.slot});
  CHECK(f.complete(worker, id.slot));
  CHECK(f.settled.abandoned);
  CHECK_FALSE(f.queue.is_stuck(id));
}

TEST_CASE("job_queue: what a lost worker had not begun waits again, in its order and in front") {
  Fixture f;
  WorkerSlot* worker = f.worker(1, 3);
  for (const char* text : {"1", "2", "3", "4"}) f.add(job_of(0, text));
  CHECK(f.take(worker) == Texts{"1", "2", "3"});
  const std::vector<uint32_t> unstarted{f.taken[1].id.slot, f.taken[2].id.slot};
  std::vector<JobQueue::Settled> lost;
  f.queue.detach(worker, unstarted, &lost, &f.wakes);
  CHECK(lost.size() == 1);
  WorkerSlot* next = f.worker(2, 5);
  CHECK(f.take(next) == Texts{"2", "3", "4"});
}

TEST_CASE("job_queue: a job whose worker has been given something is lost with it, begun or not") {
  Fixture f;
  WorkerSlot* worker = f.worker(1, 3);
  f.add(job_of(0, "1"));
  Job announced = job_of(7, "2");
  announced.announce = true;
  const JobId id = f.add(std::move(announced));
  f.add(job_of(7, "behind it"));
  CHECK(f.take(worker) == Texts{"1", "2"});
  const std::vector<uint32_t> unstarted{f.taken[0].id.slot, f.taken[1].id.slot};
  std::vector<JobQueue::Settled> lost;
  f.queue.detach(worker, unstarted, &lost, &f.wakes);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].id.slot == id.slot);
  WorkerSlot* next = f.worker(2, 5);
  CHECK(f.take(next) == Texts{"1", "behind it"});
}

TEST_CASE("job_queue: a batch is bounded in bytes, but for a single job") {
  JobLimits limits;
  limits.max_bytes = 10 * kMaxTakenBytes;
  Fixture f(limits);
  const std::string large(kMaxTakenBytes / 2 + 1, 'x');
  WorkerSlot* worker = f.worker(1, 10);
  f.add(job_of(0, std::string(2 * kMaxTakenBytes, 'y')));
  f.add(job_of(0, large));
  f.add(job_of(0, "1", JobPriority::low));
  f.add(job_of(0, large));
  CHECK(f.take(worker).size() == 1);
  CHECK(f.take(worker).size() == 1);
  CHECK(f.take(worker) == Texts{large, "1"});
  CHECK(f.take(worker).empty());
}

TEST_CASE("job_queue: a worker that retires finishes its jobs and is woken then") {
  Fixture f;
  WorkerSlot* worker = f.worker(1, 2);
  const JobId id = f.add(job_of(0, "1"));
  f.take(worker);
  f.take(worker);  // nothing more: it sleeps
  f.queue.retire(worker, &f.wakes);
  f.add(job_of(0, "2"));
  CHECK(f.take(worker).empty());
  f.wakes.clear();
  CHECK(f.complete(worker, id.slot));
  CHECK(f.wakes.size() == 1);
  CHECK(worker->retiring);
  CHECK(worker->held.empty());
  CHECK(f.queue.counts().size == 0);
  CHECK(f.queue.counts().queued == 1);
}

TEST_CASE("job_queue: one that is awake without a job keeps nobody else asleep") {
  Fixture f;
  f.worker(1, 1);  // awake from the beginning; it may be busy with something else
  WorkerSlot* other = f.worker(2, 2);
  f.add(job_of(0, "1"));
  f.take(other);
  f.take(other);  // nothing more: it sleeps, with room for another one
  f.wakes.clear();
  f.add(job_of(0, "2"));
  CHECK(f.wakes.size() == 1);
  CHECK(other->awake);
}

TEST_CASE("job_queue: close takes out what waits; what runs can still be completed") {
  Fixture f;
  WorkerSlot* worker = f.worker(1, 1);
  f.add(job_of(7, "a1"));
  f.add(job_of(7, "a2"));
  f.add(job_of(8, "b1"));
  f.take(worker);
  const uint32_t slot = f.taken[0].id.slot;
  std::vector<JobQueue::Settled> cancelled;
  f.queue.close(&cancelled);
  CHECK(cancelled.size() == 2);
  f.add(job_of(9, "c"), JobQueue::AddResult::closed);
  CHECK_FALSE(f.queue.idle());
  CHECK(f.complete(worker, slot));
  CHECK(f.queue.idle());
}

TEST_CASE("job_queue: jobs that run for too long are named") {
  Fixture f;
  WorkerSlot* worker = f.worker(4, 2);
  const JobId id = f.add(job_of(7, "a1"));
  f.take(worker);
  std::vector<JobId> ids;
  f.queue.overdue(JobKind::packet, std::chrono::hours(1), &ids);
  CHECK(ids.empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  f.queue.overdue(JobKind::call, std::chrono::milliseconds(1), &ids);
  CHECK(ids.empty());
  f.queue.overdue(JobKind::packet, std::chrono::milliseconds(1), &ids);
  REQUIRE(ids.size() == 1);
  CHECK(ids[0].slot == id.slot);
  CHECK(f.queue.holder(id) == worker);
  CHECK(f.queue.find_worker(4) == worker);
  CHECK(f.queue.find_worker(5) == nullptr);
}

// A slow and obvious queue beside the real one; both get the same calls.
TEST_CASE("job_queue: behaves as a simple model, and nobody sleeps while a job is ready for them") {
  struct ModelJob {
    uint32_t connection;
    size_t priority;
  };
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    JobLimits limits;
    limits.max_queued = 1 + below(30);
    limits.ordered = below(3) != 0;
    Fixture f(limits);
    std::map<std::string, ModelJob> jobs;  // all that exist
    std::map<std::string, JobId> ids;
    std::deque<std::string> ready[kJobPriorities];
    std::map<uint32_t, std::deque<std::string>> chains;
    std::map<WorkerSlot*, Texts> running;
    std::set<std::string> abandoned;
    std::map<WorkerSlot*, std::map<std::string, uint32_t>> slots;
    size_t waiting = 0;
    uint32_t next = 0;

    const auto release = [&](const ModelJob& job) {
      if (!limits.ordered || job.connection == 0) return;
      auto& chain = chains[job.connection];
      if (chain.empty()) {
        chains.erase(job.connection);
      } else {
        ready[jobs[chain.front()].priority].push_back(chain.front());
        chain.pop_front();
      }
    };
    const auto live_seat = [&]() -> WorkerSlot* {
      if (running.empty()) return nullptr;
      auto at = running.begin();
      std::advance(at, below(static_cast<uint32_t>(running.size())));
      return at->first;
    };
    for (uint32_t step = 0; step < 1500; ++step) {
      switch (below(12)) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const ModelJob job{below(5), below(kJobPriorities)};
          const std::string text = std::to_string(next++);
          JobId id;
          const auto result =
              f.queue.add(job_of(job.connection, text, static_cast<JobPriority>(job.priority)), false, &id, &f.wakes);
          CHECK((result == JobQueue::AddResult::full) == (waiting >= limits.max_queued));
          if (result != JobQueue::AddResult::queued) break;
          ++waiting;
          jobs[text] = job;
          ids[text] = id;
          if (limits.ordered && job.connection != 0) {
            if (chains.count(job.connection) != 0) {
              chains[job.connection].push_back(text);
              break;
            }
            chains[job.connection];
          }
          ready[job.priority].push_back(text);
          break;
        }
        case 4:
        case 5:
        case 6: {  // a turn of a worker
          WorkerSlot* worker = live_seat();
          if (worker == nullptr || !worker->awake) break;
          std::vector<uint32_t> aborts;
          f.queue.take_aborts(worker, &aborts);
          const size_t most = 1 + below(3);
          const Texts got = f.take(worker, most);
          Texts expected;
          const size_t room = worker->retiring ? 0 : worker->capacity - running[worker].size();
          for (auto& list : ready) {
            while (!list.empty() && expected.size() < (std::min)(most, room)) {
              expected.push_back(list.front());
              list.pop_front();
            }
          }
          CHECK(got == expected);
          waiting -= expected.size();
          for (size_t i = 0; i < got.size(); ++i) {
            running[worker].push_back(got[i]);
            slots[worker][got[i]] = f.taken[i].id.slot;
          }
          break;
        }
        case 7:
        case 8: {  // a job ends
          WorkerSlot* worker = live_seat();
          if (worker == nullptr || running[worker].empty()) break;
          const size_t index = below(static_cast<uint32_t>(running[worker].size()));
          const std::string text = running[worker][index];
          CHECK(f.complete(worker, slots[worker][text]));
          CHECK(f.settled.abandoned == (abandoned.count(text) != 0));
          running[worker].erase(running[worker].begin() + static_cast<std::ptrdiff_t>(index));
          if (abandoned.erase(text) == 0) release(jobs[text]);
          jobs.erase(text);
          break;
        }
        case 9: {  // a job is cancelled
          if (jobs.empty()) break;
          auto at = jobs.begin();
          std::advance(at, below(static_cast<uint32_t>(jobs.size())));
          const std::string text = at->first;
          const ModelJob job = at->second;
          const auto result = f.queue.cancel(ids[text], &f.settled, &f.wakes);
          auto& list = ready[job.priority];
          const auto in_ready = std::find(list.begin(), list.end(), text);
          if (in_ready != list.end()) {
            CHECK(result == JobQueue::CancelResult::removed);
            list.erase(in_ready);
            release(job);
            jobs.erase(text);
            --waiting;
            break;
          }
          bool waits = false;
          const auto chain = chains.find(job.connection);
          if (chain != chains.end()) {
            const auto place = std::find(chain->second.begin(), chain->second.end(), text);
            waits = place != chain->second.end();
            if (waits) chain->second.erase(place);
          }
          if (waits) {
            CHECK(result == JobQueue::CancelResult::removed);
            jobs.erase(text);
            --waiting;
          } else if (abandoned.count(text) != 0) {
            CHECK(result == JobQueue::CancelResult::gone);
          } else {
            CHECK(result == JobQueue::CancelResult::running);
            abandoned.insert(text);
            release(job);
          }
          break;
        }
        case 10: {  // a worker comes, or retires
          if (running.size() < 4 && below(2) == 0) {
            WorkerSlot* worker = f.worker(step, 1 + below(3));
            running[worker];
          } else if (WorkerSlot* worker = live_seat()) {
            if (below(3) == 0) f.queue.retire(worker, &f.wakes);
          }
          break;
        }
        case 11: {  // a worker goes
          WorkerSlot* worker = live_seat();
          if (worker == nullptr || below(3) != 0) break;
          const size_t begun = below(static_cast<uint32_t>(running[worker].size() + 1));
          std::vector<uint32_t> unstarted;
          for (size_t i = begun; i < running[worker].size(); ++i) {
            unstarted.push_back(slots[worker][running[worker][i]]);
          }
          std::vector<JobQueue::Settled> lost;
          f.queue.detach(worker, unstarted, &lost, &f.wakes);
          for (size_t i = running[worker].size(); i-- > 0;) {
            const std::string text = running[worker][i];
            if (abandoned.erase(text) != 0) {
              jobs.erase(text);
            } else if (i >= begun) {
              ready[jobs[text].priority].push_front(text);
              ++waiting;
            } else {
              release(jobs[text]);
              jobs.erase(text);
            }
          }
          CHECK(lost.size() <= running[worker].size());
          running.erase(worker);
          break;
        }
      }
      const JobQueue::Counts counts = f.queue.counts();
      REQUIRE(counts.queued == waiting);
      const bool any_ready = std::any_of(std::begin(ready), std::end(ready), [](auto& list) { return !list.empty(); });
      if (any_ready) {
        bool awake = false;
        bool sleeper = false;
        for (const auto& entry : running) {
          const WorkerSlot* worker = entry.first;
          if (worker->retiring) continue;
          awake = awake || worker->awake;
          sleeper = sleeper || (!worker->awake && worker->held.size() < worker->capacity);
        }
        REQUIRE((awake || !sleeper));
      }
    }
  }
}

TEST_CASE("job_queue: several threads add, several work, every job runs once and in order") {
  constexpr uint32_t kConnections = 16;
  constexpr uint32_t kProducers = 3;
  constexpr uint32_t kWorkers = 4;
  constexpr uint32_t kEach = 3000;
  struct Worker final : JobWaker {
    void wake() override {
      std::lock_guard<std::mutex> guard(mutex);
      woken = true;
      changed.notify_one();
    }
    void sleep() {
      std::unique_lock<std::mutex> guard(mutex);
      changed.wait(guard, [&] { return woken; });
      woken = false;
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool woken = true;
    WorkerSlot worker;
  };
  JobQueue queue(JobLimits{UINT32_MAX, UINT64_MAX, true});
  std::mutex lock;
  std::atomic<uint32_t> done{0};
  std::vector<std::vector<uint32_t>> seen(kConnections * kProducers);
  std::vector<std::shared_ptr<Worker>> workers;
  const auto wake_all = [](const WakeList& list) {
    for (const auto& one : list) one->wake();
  };
  for (uint32_t i = 0; i < kWorkers; ++i) {
    auto worker = std::make_shared<Worker>();
    worker->worker.number = i;
    worker->worker.capacity = 1 + i % 3;
    worker->worker.waker = worker;
    workers.push_back(worker);
    queue.attach(&worker->worker);
  }
  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    threads.emplace_back([&, worker] {
      for (;;) {
        worker->sleep();
        for (;;) {
          std::vector<JobQueue::Taken> jobs;
          WakeList wakes;
          {
            std::lock_guard<std::mutex> guard(lock);
            queue.take(&worker->worker, 8, &jobs, &wakes);
          }
          wake_all(wakes);
          if (jobs.empty()) break;
          for (const auto& job : jobs) {
            uint32_t number = 0;
            std::memcpy(&number, job.data, sizeof(number));
            WakeList more;
            JobQueue::Settled settled{};
            std::lock_guard<std::mutex> guard(lock);
            seen[job.connection.slot - 1].push_back(number);
            REQUIRE(queue.complete(&worker->worker, job.id.slot, &settled, &more));
            done.fetch_add(1);
            wake_all(more);
          }
        }
        std::lock_guard<std::mutex> guard(lock);
        if (worker->worker.retiring && worker->worker.held.empty()) return;
      }
    });
  }
  for (uint32_t producer = 0; producer < kProducers; ++producer) {
    threads.emplace_back([&, producer] {
      for (uint32_t i = 0; i < kEach; ++i) {
        Job job = job_of(producer * kConnections + i % kConnections + 1, "");
        job.bytes.data.reset(new uint8_t[sizeof(i)]);
        std::memcpy(job.bytes.data.get(), &i, sizeof(i));
        job.bytes.size = sizeof(i);
        JobId id;
        WakeList wakes;
        {
          std::lock_guard<std::mutex> guard(lock);
          queue.add(std::move(job), false, &id, &wakes);
        }
        wake_all(wakes);
      }
    });
  }
  while (done.load() != kProducers * kEach) std::this_thread::yield();
  for (const auto& worker : workers) {
    WakeList wakes;
    {
      std::lock_guard<std::mutex> guard(lock);
      queue.retire(&worker->worker, &wakes);
    }
    wake_all(wakes);
  }
  for (auto& thread : threads) thread.join();
  for (const auto& worker : workers) worker->worker.waker.reset();
  for (const auto& numbers : seen) {
    REQUIRE(numbers.size() >= kEach / kConnections);
    REQUIRE(std::is_sorted(numbers.begin(), numbers.end()));
  }
}
