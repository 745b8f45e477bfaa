// How jobs end: what their callers and connections are told, and when the main thread is woken for it.
#include <algorithm>
#include <chrono>
#include <mutex>

#include "win/connection/connection.h"
#include "win/engine/engine.h"
#include "win/jobs/job_hub.h"

namespace iocp {
namespace {

// While so much waits for JavaScript, failures of routed jobs are counted only: a blocked main thread
// and jobs that all fail must not fill the memory.
constexpr uint64_t kMaxPendingFailureBytes = 4u * 1024 * 1024;

// The answer to a call wakes the main thread, which costs far more than a short job. So it waits for the next ones
// where many jobs are waiting: it is then a small part of the time that its caller waits anyway, and the workers do not
// run dry until the main thread has new jobs for them. Jobs below the least time come so soon one after another that
// the main thread is still awake; those above the most, and answers above the most bytes, are not worth a wait. Nobody
// waits for a job that unexpectedly takes long: the engine's timer publishes what was gathered before.
constexpr uint32_t kJobsPerAnswer = 1;  // that have to wait for each answer that is gathered
constexpr uint32_t kMostGathered = 64;
constexpr auto kMostGatheringTime = std::chrono::milliseconds(8);
constexpr uint64_t kLeastGatheredUs = 4;
constexpr uint64_t kMostGatheredUs = 1000;
constexpr size_t kMostGatheredBytes = 16 * 1024;

}  // namespace

void JobHub::complete(Engine& engine, WorkerSlot* worker, uint32_t slot, JobOutcome outcome, const void* data,
                      size_t size) {
  WakeList wakes;
  JobQueue::Settled settled{};
  Wake wake = Wake::now;
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    // Before the end of this job wakes it for the next one.
    const bool takes_next = worker->awake && !worker->retiring;
    if (!queue_.complete(worker, slot, &settled, &wakes)) return;
    if (takes_next && may_gather_locked(settled, size)) {
      wake = Wake::gathered;
      if (gathered_++ == 0) gathering_since_ = JobQueue::Clock::now();
    } else if (settled.kind == JobKind::call && !settled.abandoned) {
      gathered_ = 0;  // its record wakes for those before it, too
    }
  }
  if (!settled.abandoned) {
    if (outcome != JobOutcome::connection_closed) run_us_.add(settled.ran_us);
    tell(engine, settled, outcome, data, size, wake);
  }
  after(engine, wakes, {});
}

// For a worker that is awake: it takes a job next, and publishes when there is none. One that sleeps has ended a job
// that went on in its event loop, where other callbacks may come before it takes the next.
bool JobHub::may_gather_locked(const JobQueue::Settled& settled, size_t size) const {
  if (settled.kind != JobKind::call || settled.abandoned || size > kMostGatheredBytes) return false;
  if (settled.ran_us < kLeastGatheredUs || settled.ran_us > kMostGatheredUs) return false;
  if (gathered_ == kMostGathered || queue_.queued() <= kJobsPerAnswer * (gathered_ + 1)) return false;
  return gathered_ == 0 || JobQueue::Clock::now() - gathering_since_ < kMostGatheringTime;
}

// Also where nothing has been counted: a worker counts its answer before it is in the queue of records.
void JobHub::end_gathering(Engine& engine) {
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    gathered_ = 0;
  }
  engine.publish_gathered();
}

void JobHub::publish_answers() {
  with_engine([&](Engine& engine) { end_gathering(engine); });
}

void JobHub::tell_if_drained(Engine& engine) {
  {
    std::lock_guard<SrwLock> guard(queue_lock_);
    if (!draining_ || !queue_.idle()) return;
    draining_ = false;
  }
  engine.deliver({static_cast<uint32_t>(RecordKind::jobs_drained), 0, 0, 0, 0, 0}, nullptr, 0, nullptr);
}

void JobHub::tell(Engine& engine, const JobQueue::Settled& settled, JobOutcome outcome, const void* data, size_t size,
                  Wake wake) {
  if (settled.abandoned) return;  // told when it was settled
  std::atomic<uint64_t>& counter = outcome == JobOutcome::done                ? completed_
                                   : outcome == JobOutcome::connection_closed ? skipped_
                                                                              : failed_;
  counter.fetch_add(1, std::memory_order_relaxed);
  if (settled.kind == JobKind::call) {
    const Record record{static_cast<uint32_t>(RecordKind::job_done),
                        settled.id.slot,
                        settled.id.generation,
                        0,
                        0,
                        static_cast<uint32_t>(outcome)};
    if (wake == Wake::gathered) return engine.deliver_gathered(record, data, size);
    return engine.deliver(record, data, size, nullptr);
  }
  if (outcome != JobOutcome::done && outcome != JobOutcome::connection_closed) {
    tell_failure(engine, settled.connection, outcome, data, size, nullptr);
  }
  engine.with_connection(settled.connection, [](Connection& connection) { connection.job_ended(); });
}

void JobHub::tell_failure(Engine& engine, ConnectionId id, JobOutcome outcome, const void* data, size_t size,
                          DeliveryCredit* credit) {
  // With a credit the connection's reads stop by themselves.
  if (credit == nullptr && engine.delivery().pending_bytes() > kMaxPendingFailureBytes) {
    unreported_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  engine.deliver(
      {static_cast<uint32_t>(RecordKind::job_failed), id.slot, id.generation, 0, 0, static_cast<uint32_t>(outcome)},
      data, size, credit);
}

}  // namespace iocp
