#pragma once
// The jobs of one engine and the workers that do them. The workers live in other JavaScript
// environments, which come and go on their own: a worker may be terminated, and the engine may end,
// at any moment.
//
// The hub outlives both: the engine, a process-wide register and every attached worker hold it. Worker
// threads reach the engine through with_engine() only; close() waits until none of them is inside.
#include <atomic>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "core/delivery_queue.h"
#include "core/histogram.h"
#include "core/job_queue.h"
#include "core/records.h"
#include "win/connection/packet_router.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Engine;

struct JobHubOptions {
  JobLimits limits;
  JobPriority priority = JobPriority::normal;  // of routed packets
  PacketRoutes routes;
  bool reject = false;  // at the bound: refuse packets; else stop reading
  bool skip_when_closed = true;
};

class JobHub final : public PacketRouter {
 public:
  // JavaScript thread of the engine.
  static std::shared_ptr<JobHub> create(Engine* engine, const JobHubOptions& options);
  // Any thread; null when there is none (any more).
  static std::shared_ptr<JobHub> find(uint32_t key);

  JobHub(Engine* engine, const JobHubOptions& options);
  uint32_t key() const { return key_; }

  // -- I/O threads of the engine ------------------------------------------------------------------
  void add_packets(Connection& connection, const Packet* packets, size_t count, DeliveryCredit* credit) override;
  // True when the connection must stop reading; it is unparked when there is room. While jobs are
  // drained it is so for every connection, until close_jobs().
  bool park(ConnectionId id, bool has_routed) override;

  // -- JavaScript thread of the engine ------------------------------------------------------------
  JobQueue::AddResult add_call(Job job, JobId* id);
  // The caller settles it; nothing is told of it any more.
  JobQueue::CancelResult cancel(JobId id);
  // A cancelled job that its worker has not let go of: the worker's number, else -1.
  int64_t stuck_worker(JobId id);
  // Fails routed jobs that have run for longer than this; *ids are those whose worker has to be watched.
  void expire(uint32_t limit_ms, std::vector<JobId>* ids);
  // No worker comes: jobs that wait fail, and others are refused until `on` is false or a worker attaches.
  void refuse(bool on);
  // The worker finishes what it runs and is told to go; one that is still to come will not be let in.
  void retire(uint32_t worker);
  // Reading stops; JOBS_DRAINED comes when nothing waits or runs.
  void drain();
  // Whatever waits or runs is cancelled and told; reading goes on, routed packets are thrown away.
  void close_jobs();
  // The engine ends. Waits until no worker thread is inside.
  void close();

  struct Totals {
    JobQueue::Counts now;
    uint64_t completed;
    uint64_t failed;
    uint64_t skipped;
    uint64_t rejected;
    uint64_t unreported;  // failures of routed jobs that were counted but not told
  };
  Totals totals();
  const Histogram& wait_us() const { return wait_us_; }
  const Histogram& run_us() const { return run_us_; }

  // -- worker threads -----------------------------------------------------------------------------
  // Calls f(Engine&) unless the engine has ended. Not from within f; f must not block.
  template <class F>
  bool with_engine(F&& f) {
    std::shared_lock<SrwLock> guard(engine_lock_);
    if (engine_ == nullptr) return false;
    std::forward<F>(f)(*engine_);
    return true;
  }
  // False when it is not wanted any more.
  bool attach(WorkerSlot* worker);
  void detach(WorkerSlot* worker, const std::vector<uint32_t>& unstarted);
  struct Turn {
    std::vector<JobQueue::Taken> jobs;
    std::vector<uint32_t> aborts;
    bool retire = false;  // it shall go, and runs nothing or nobody waits for what it runs
  };
  void take(WorkerSlot* worker, size_t most, Turn* turn);
  // The worker does something else than taking jobs: no answer waits for its next one.
  void publish_answers();
  // Within with_engine(). Nothing happens when the worker does not run that job.
  void complete(Engine& engine, WorkerSlot* worker, uint32_t slot, JobOutcome outcome, const void* data, size_t size);
  bool runs(const WorkerSlot* worker, uint32_t slot);

 private:
  // Under queue_lock_: connections that may read again.
  void take_parked_locked(std::vector<ConnectionId>* ids);
  void after(Engine& engine, const WakeList& wakes, const std::vector<ConnectionId>& unparked);
  static void wake_all(const WakeList& wakes);
  bool may_gather_locked(const JobQueue::Settled& settled, size_t size) const;
  void end_gathering(Engine& engine);
  enum class Wake { now, gathered };
  void tell(Engine& engine, const JobQueue::Settled& settled, JobOutcome outcome, const void* data, size_t size,
            Wake wake = Wake::now);
  void tell_failure(Engine& engine, ConnectionId id, JobOutcome outcome, const void* data, size_t size,
                    DeliveryCredit* credit);
  void tell_if_drained(Engine& engine);

  const JobHubOptions options_;
  uint32_t key_ = 0;
  SrwLock engine_lock_;  // exclusive: the engine goes; shared: a worker thread uses it
  Engine* engine_;       // worker threads: under engine_lock_
  Engine* const owner_;  // the engine's own threads, which end before it does

  SrwLock queue_lock_;
  JobQueue queue_;                               // under queue_lock_
  std::vector<ConnectionId> parked_;             // under queue_lock_
  uint32_t gathered_ = 0;                        // under queue_lock_: answers that nobody has been woken for
  JobQueue::Clock::time_point gathering_since_;  // under queue_lock_
  std::vector<uint32_t> unwanted_;               // under queue_lock_: workers that were retired before they came
  bool refusing_ = false;                        // under queue_lock_
  bool draining_ = false;                        // under queue_lock_: nobody has been told yet
  std::atomic<bool> reads_stopped_{false};
  std::atomic<bool> may_be_full_{false};  // written under queue_lock_

  std::atomic<uint64_t> completed_{0};
  std::atomic<uint64_t> failed_{0};
  std::atomic<uint64_t> skipped_{0};
  std::atomic<uint64_t> rejected_{0};
  std::atomic<uint64_t> unreported_{0};
  Histogram wait_us_;
  Histogram run_us_;
};

}  // namespace iocp
