#include "win/jobs/job_hub.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "win/connection/connection.h"
#include "win/engine/engine.h"

namespace iocp {
namespace {

struct Register {
  SrwLock lock;
  std::unordered_map<uint32_t, std::weak_ptr<JobHub>> hubs;
  uint32_t last_key = 0;
};

// Never destroyed: threads of any environment may ask at any time.
Register& process_register() {
  static Register* const instance = new Register;
  return *instance;
}

}  // namespace

std::shared_ptr<JobHub> JobHub::create(Engine* engine, const JobHubOptions& options) {
  auto hub = std::make_shared<JobHub>(engine, options);
  Register& all = process_register();
  std::lock_guard<SrwLock> guard(all.lock);
  do {
    hub->key_ = ++all.last_key;
  } while (hub->key_ == 0 || all.hubs.count(hub->key_) != 0);
  all.hubs[hub->key_] = hub;
  return hub;
}

std::shared_ptr<JobHub> JobHub::find(uint32_t key) {
  Register& all = process_register();
  std::lock_guard<SrwLock> guard(all.lock);
  const auto found = all.hubs.find(key);
  return found == all.hubs.end() ? nullptr : found->second.lock();
}

JobHub::JobHub(Engine* engine, const JobHubOptions& options)
    : PacketRouter(options.routes), options_(options), engine_(engine), owner_(engine), queue_(options.limits) {}

// -- I/O threads ----------------------------------------------------------------------------------

void JobHub::add_packets(Connection& connection, const Packet* packets, size_t count, DeliveryCredit* credit) {
  constexpr size_t kMost = 128;
  Job jobs[kMost];
  for (size_t i = 0; i < count; ++i) {
    Job& job = jobs[i];
    job.kind = JobKind::packet;
    job.priority = options_.priority;
    job.skip_when_closed = options_.skip_when_closed;
    job.connection = connection.id();
    job.bytes.size = static_cast<uint32_t>(packets[i].size);
    job.bytes.data.reset(new uint8_t[packets[i].size]);
    if (packets[i].size != 0) std::memcpy(job.bytes.data.get(), packets[i].data, packets[i].size);
  }
  connection.jobs_added(static_cast<uint32_t>(count));  // before one of them can end
  WakeList wakes;
  uint32_t full = 0;
  uint32_t refused = 0;
  bool no_workers = false;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    no_workers = refusing_;
    if (no_workers) refused = static_cast<uint32_t>(count);
    for (size_t i = 0; i < count && !no_workers; ++i) {
      JobId id;
      const auto result = queue_.add(std::move(jobs[i]), !options_.reject, &id, &wakes);
      if (result == JobQueue::AddResult::full) ++full;
      if (result != JobQueue::AddResult::queued) ++refused;
    }
    may_be_full_.store(queue_.full(), std::memory_order_release);
  }
  wake_all(wakes);
  rejected_.fetch_add(full, std::memory_order_relaxed);
  for (; refused != 0; --refused) {
    if (no_workers) {
      failed_.fetch_add(1, std::memory_order_relaxed);
      tell_failure(*owner_, connection.id(), JobOutcome::no_workers, nullptr, 0, credit);
    } else if (full != 0) {
      --full;
      tell_failure(*owner_, connection.id(), JobOutcome::rejected, nullptr, 0, credit);
    }
    connection.job_ended();
  }
}

bool JobHub::park(ConnectionId id, bool has_routed) {
  if (reads_stopped_.load(std::memory_order_acquire)) return true;
  if (!has_routed || options_.reject || !may_be_full_.load(std::memory_order_acquire)) return false;
  std::lock_guard<SrwLock> guard(queue_lock_);
  if (!queue_.full()) return false;
  parked_.push_back(id);
  return true;
}

// -- JavaScript thread of the engine --------------------------------------------------------------

JobQueue::AddResult JobHub::add_call(Job job, JobId* id) {
  WakeList wakes;
  JobQueue::AddResult result;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    result = queue_.add(std::move(job), false, id, &wakes);
    may_be_full_.store(queue_.full(), std::memory_order_release);
  }
  wake_all(wakes);
  return result;
}

JobQueue::CancelResult JobHub::cancel(JobId id) {
  WakeList wakes;
  std::vector<ConnectionId> unparked;
  JobQueue::Settled settled{};
  JobQueue::CancelResult result;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    result = queue_.cancel(id, &settled, &wakes);
    take_parked_locked(&unparked);
  }
  if (result != JobQueue::CancelResult::gone) failed_.fetch_add(1, std::memory_order_relaxed);
  after(*owner_, wakes, unparked);
  return result;
}

int64_t JobHub::stuck_worker(JobId id) {
  std::lock_guard<SrwLock> guard(queue_lock_);
  if (!queue_.is_stuck(id)) return -1;
  return queue_.holder(id)->number;
}

void JobHub::expire(uint32_t limit_ms, std::vector<JobId>* ids) {
  WakeList wakes;
  std::vector<JobQueue::Settled> expired;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    queue_.overdue(JobKind::packet, std::chrono::milliseconds(limit_ms), ids);
    for (const JobId id : *ids) {
      JobQueue::Settled settled{};
      queue_.cancel(id, &settled, &wakes);
      expired.push_back(settled);
    }
  }
  for (const auto& settled : expired) tell(*owner_, settled, JobOutcome::timed_out, nullptr, 0);
  after(*owner_, wakes, {});
}

void JobHub::refuse(bool on) {
  std::vector<ConnectionId> unparked;
  std::vector<JobQueue::Settled> refused;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    // A worker may have come just now, of which JavaScript has not heard yet.
    refusing_ = on && queue_.counts().size == 0;
    if (!refusing_) return;
    queue_.take_out(&refused);
    take_parked_locked(&unparked);
  }
  for (const auto& settled : refused) tell(*owner_, settled, JobOutcome::no_workers, nullptr, 0);
  after(*owner_, {}, unparked);
}

void JobHub::retire(uint32_t number) {
  WakeList wakes;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    if (WorkerSlot* worker = queue_.find_worker(number)) {
      queue_.retire(worker, &wakes);
    } else {
      unwanted_.push_back(number);
    }
  }
  wake_all(wakes);
}

void JobHub::drain() {
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    draining_ = true;
  }
  reads_stopped_.store(true, std::memory_order_release);
  after(*owner_, {}, {});
}

void JobHub::close_jobs() {
  WakeList wakes;
  std::vector<JobQueue::Settled> cancelled;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    queue_.close(&cancelled);
    std::vector<JobId> running;
    for (const JobKind kind : {JobKind::packet, JobKind::call}) {
      queue_.overdue(kind, JobQueue::Clock::duration::min(), &running);
    }
    for (const JobId id : running) {
      JobQueue::Settled settled{};
      queue_.cancel(id, &settled, &wakes);
      cancelled.push_back(settled);
    }
    parked_.clear();
  }
  reads_stopped_.store(false, std::memory_order_release);
  for (const auto& settled : cancelled) tell(*owner_, settled, JobOutcome::cancelled, nullptr, 0);
  after(*owner_, wakes, {});
  owner_->unpark_all();
  owner_->wake_if_needed();  // the count of one may have been its last
}

void JobHub::close() {
  {
    Register& all = process_register();
    std::lock_guard<SrwLock> guard(all.lock);
    all.hubs.erase(key_);
  }
  {
    std::lock_guard<SrwLock> guard(engine_lock_);
    engine_ = nullptr;
  }
  std::vector<JobQueue::Settled> cancelled;
  std::lock_guard<SrwLock> guard(queue_lock_);
  queue_.close(&cancelled);
}

JobHub::Totals JobHub::totals() {
  Totals totals{};
  totals.completed = completed_.load(std::memory_order_relaxed);
  totals.failed = failed_.load(std::memory_order_relaxed);
  totals.skipped = skipped_.load(std::memory_order_relaxed);
  totals.rejected = rejected_.load(std::memory_order_relaxed);
  totals.unreported = unreported_.load(std::memory_order_relaxed);
  std::lock_guard<SrwLock> guard(queue_lock_);
  totals.now = queue_.counts();
  return totals;
}

// -- worker threads -------------------------------------------------------------------------------

bool JobHub::attach(WorkerSlot* worker) {
  std::lock_guard<SrwLock> guard(queue_lock_);
  const auto unwanted = std::find(unwanted_.begin(), unwanted_.end(), worker->number);
  if (unwanted != unwanted_.end()) {
    unwanted_.erase(unwanted);
    return false;
  }
  queue_.attach(worker);
  refusing_ = false;
  return true;
}

void JobHub::detach(WorkerSlot* worker, const std::vector<uint32_t>& unstarted) {
  WakeList wakes;
  std::vector<ConnectionId> unparked;
  std::vector<JobQueue::Settled> lost;
  std::vector<JobQueue::Settled> refused;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    queue_.detach(worker, unstarted, &lost, &wakes);
    // What has come back when there is nobody to wait for.
    if (refusing_) {
      queue_.take_out(&refused);
      take_parked_locked(&unparked);
    }
  }
  const bool told = with_engine([&](Engine& engine) {
    for (const auto& settled : lost) tell(engine, settled, JobOutcome::worker_exited, nullptr, 0);
    for (const auto& settled : refused) tell(engine, settled, JobOutcome::no_workers, nullptr, 0);
    end_gathering(engine);
    after(engine, wakes, unparked);
  });
  if (!told) wake_all(wakes);
}

void JobHub::take(WorkerSlot* worker, size_t most, Turn* turn) {
  turn->jobs.clear();
  turn->aborts.clear();
  turn->retire = false;
  bool again = true;
  while (again) {
    again = false;
    WakeList wakes;
    std::vector<ConnectionId> unparked;
    bool retiring = false;
    {
      std::lock_guard<SrwLock> guard(queue_lock_);
      queue_.take_aborts(worker, &turn->aborts);
      queue_.take(worker, most, &turn->jobs, &wakes);
      retiring = worker->retiring;
      turn->retire = retiring && worker->held.empty();
      take_parked_locked(&unparked);
    }
    const bool runs = with_engine([&](Engine& engine) {
      after(engine, wakes, unparked);
      size_t kept = 0;
      for (const JobQueue::Taken& job : turn->jobs) {
        const bool about_closed = job.connection.generation != 0 && job.skip_when_closed &&
                                  !engine.with_connection(job.connection, [](Connection&) {});
        if (about_closed) {
          complete(engine, worker, job.id.slot, JobOutcome::connection_closed, nullptr, 0);
          continue;
        }
        wait_us_.add(job.waited_us);
        if (job.announce) {
          engine.deliver(
              {static_cast<uint32_t>(RecordKind::job_taken), job.id.slot, job.id.generation, worker->number, 0, 0},
              nullptr, 0, nullptr);
        }
        turn->jobs[kept++] = job;
      }
      again = kept == 0 && !turn->jobs.empty();
      // Nothing to go on with: no answer waits for company of this worker.
      if (turn->jobs.empty()) end_gathering(engine);
      turn->jobs.resize(kept);
      engine.wake_if_needed();
    });
    if (runs) continue;
    // Nobody could be answered any more, and what it still holds will never be completed.
    turn->jobs.clear();
    turn->retire = retiring;
  }
}

bool JobHub::runs(const WorkerSlot* worker, uint32_t slot) {
  std::lock_guard<SrwLock> guard(queue_lock_);
  return queue_.runs(worker, slot);
}

// -- both -----------------------------------------------------------------------------------------

void JobHub::take_parked_locked(std::vector<ConnectionId>* ids) {
  if (parked_.empty() || !queue_.has_room()) return;
  ids->swap(parked_);
  may_be_full_.store(false, std::memory_order_release);
}

void JobHub::wake_all(const WakeList& wakes) {
  for (const auto& waker : wakes) waker->wake();
}

void JobHub::after(Engine& engine, const WakeList& wakes, const std::vector<ConnectionId>& unparked) {
  wake_all(wakes);
  for (const ConnectionId id : unparked) {
    engine.with_connection(id, [](Connection& connection) { connection.unpark(); });
  }
  tell_if_drained(engine);
  engine.wake_if_needed();
}

}  // namespace iocp
