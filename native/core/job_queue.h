#pragma once
// Jobs on their way to the workers: bounded, by priority, one at a time per connection where wanted.
//
// Externally synchronised (the hub's lock). Nothing is called out to: whoever has to be woken is put into
// a list, for the caller to wake once it has let the lock go.
//
// A worker has a slot here. It is woken, takes jobs up to its capacity until there is none for it, and sleeps.
// **While a job is ready, either a worker is awake or no sleeping worker has room.** Every function keeps
// this, so no wake-up is lost.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/connection_id.h"

namespace iocp {

enum class JobPriority : uint8_t { high, normal, low };
constexpr size_t kJobPriorities = 3;

// What a job came from: a routed packet, or a call of the JavaScript thread.
enum class JobKind : uint8_t { packet, call };

// Unique for the life of a queue; generation 0 is no job.
struct JobId {
  uint32_t slot = 0;
  uint32_t generation = 0;

  friend bool operator==(JobId a, JobId b) { return a.slot == b.slot && a.generation == b.generation; }
};

struct JobBytes {
  std::unique_ptr<uint8_t[]> data;
  uint32_t size = 0;
};

struct Job {
  JobKind kind = JobKind::packet;
  JobPriority priority = JobPriority::normal;
  bool skip_when_closed = true;  // not worth running once its connection has closed
  // The caller wants to know who takes it, and gives that worker something: nobody else can do it then.
  bool announce = false;
  ConnectionId connection;  // generation 0: about none
  JobBytes bytes;
};

// A thread that sleeps until there is a job for it. wake() runs on any thread and must not block.
class JobWaker {
 public:
  virtual void wake() = 0;

 protected:
  ~JobWaker() = default;
};
using WakeList = std::vector<std::shared_ptr<JobWaker>>;

// A worker's place in the queue. Owned by the worker; the queue touches it from attach() to detach().
struct WorkerSlot {
  uint32_t number = 0;  // by which the JavaScript thread knows the worker
  uint32_t capacity = 1;
  std::shared_ptr<JobWaker> waker;

  // The queue's.
  std::vector<uint32_t> held;    // slots of the jobs that it runs
  std::vector<uint32_t> aborts;  // slots of those that it shall give up, until it has been told
  bool awake = false;            // will call take() by itself
  bool retiring = false;
};

// At a time, waiting and running: what the number of a job can tell apart.
constexpr size_t kMaxJobSlots = size_t{1} << kSlotBits;
// One take() brings no more than this, or a single job.
constexpr uint64_t kMaxTakenBytes = 8u * 1024 * 1024;

struct JobLimits {
  uint32_t max_queued = 10000;
  uint64_t max_bytes = 16u * 1024 * 1024;
  bool ordered = true;  // one job of a connection at a time
};

class JobQueue {
 public:
  using Clock = std::chrono::steady_clock;

  enum class AddResult { queued, full, closed };
  enum class CancelResult { gone, removed, running };

  // A job in a worker's hands. The bytes stay where they are until the worker completes the job.
  struct Taken {
    JobId id;
    JobKind kind;
    bool announce;
    bool skip_when_closed;
    ConnectionId connection;
    const uint8_t* data;
    uint32_t size;
    uint64_t waited_us;
  };
  // A job that is over, one way or another, for whoever has to be told.
  struct Settled {
    JobId id;
    JobKind kind;
    bool abandoned;  // it had been settled before the worker was through with it
    ConnectionId connection;
    uint64_t ran_us;
  };
  struct Counts {
    uint32_t size;  // workers that are not retiring
    uint32_t idle;  // of those, the ones that run nothing
    uint32_t queued;
    uint32_t running;
    uint64_t bytes;  // of what is queued
  };

  explicit JobQueue(const JobLimits& limits) : limits_(limits) {}
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  // `force`: also beyond the bound; whoever does so has to stop soon (JobHub::park).
  AddResult add(Job job, bool force, JobId* id, WakeList* wake);
  bool full() const { return queued_ >= limits_.max_queued || bytes_ >= limits_.max_bytes; }
  // Half empty again: time to let those go on that were stopped.
  bool has_room() const { return queued_ <= limits_.max_queued / 2 && bytes_ <= limits_.max_bytes / 2; }
  // A job that waits is taken out. One that runs is settled now, its worker is told to give it up, and
  // its result will not count.
  CancelResult cancel(JobId id, Settled* settled, WakeList* wake);
  // Those that wait are taken out.
  void take_out(std::vector<Settled>* waiting);
  // The same, and no job is accepted any more.
  void close(std::vector<Settled>* cancelled);

  // The worker counts as awake: its owner has to call take().
  void attach(WorkerSlot* worker);
  // Jobs of `unstarted` (slots that it holds) wait again, in front, but for announced ones; all others
  // are lost.
  void detach(WorkerSlot* worker, const std::vector<uint32_t>& unstarted, std::vector<Settled>* lost, WakeList* wake);
  // It takes no job any more and is woken when it runs none.
  void retire(WorkerSlot* worker, WakeList* wake);

  // Up to `most` jobs for a worker that is awake. None: it sleeps now.
  void take(WorkerSlot* worker, size_t most, std::vector<Taken>* jobs, WakeList* wake);
  // What the worker shall give up.
  void take_aborts(WorkerSlot* worker, std::vector<uint32_t>* slots);
  // False when the worker does not run that job.
  bool complete(WorkerSlot* worker, uint32_t slot, Settled* settled, WakeList* wake);
  // Whether the worker runs this job and nobody has settled it.
  bool runs(const WorkerSlot* worker, uint32_t slot) const;
  // A job that has been settled while it ran and that its worker still has not let go: it blocks.
  bool is_stuck(JobId id) const;
  // Jobs of this kind that have run for longer than this.
  void overdue(JobKind kind, Clock::duration limit, std::vector<JobId>* ids) const;
  WorkerSlot* holder(JobId id) const;
  WorkerSlot* find_worker(uint32_t number) const;

  Counts counts() const;
  uint32_t queued() const { return queued_; }
  bool idle() const { return queued_ == 0 && running_ == 0; }

 private:
  enum class State : uint8_t { free, ready, chained, running, abandoned };
  static constexpr uint32_t kNone = 0xFFFFFFFFu;

  struct Entry {
    Job job;
    uint32_t generation = 0;
    State state = State::free;
    uint32_t previous = kNone;  // in the list that the state says; free: only next
    uint32_t next = kNone;
    WorkerSlot* worker = nullptr;
    Clock::time_point added;
    Clock::time_point started;
  };
  struct List {
    uint32_t first = kNone;
    uint32_t last = kNone;
  };

  uint32_t allocate();
  void free_entry(uint32_t slot);
  void push_back(List* list, uint32_t slot);
  void push_front(List* list, uint32_t slot);
  void remove(List* list, uint32_t slot);
  List& ready_list(const Entry& entry) { return ready_[static_cast<size_t>(entry.job.priority)]; }
  bool has_ready() const;
  void make_ready(uint32_t slot);
  // The job of a connection is over: the next one may run.
  void release_chain(const Entry& entry);
  bool is_chained(const Entry& entry) const { return limits_.ordered && entry.job.connection.generation != 0; }
  void wake_for_ready(WakeList* wake);
  static void wake_worker(WorkerSlot* worker, WakeList* wake);
  Settled settle(uint32_t slot) const;
  void let_go(WorkerSlot* worker, uint32_t slot);
  Entry* find(JobId id);
  const Entry* find(JobId id) const;

  const JobLimits limits_;
  std::deque<Entry> entries_;  // stays where it is when it grows
  uint32_t free_ = kNone;
  List ready_[kJobPriorities];
  // By connection: the jobs behind the one that is ready or runs. Exists while there is one.
  std::unordered_map<uint64_t, List> chains_;
  std::vector<WorkerSlot*> workers_;
  uint32_t queued_ = 0;
  uint32_t running_ = 0;  // without those that were abandoned
  uint64_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace iocp
