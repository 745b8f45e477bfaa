#pragma once
// One completion port with its I/O threads, its connections and its way to JavaScript.
//
// Belongs to one JavaScript environment. Everything that lives in the kernel on its behalf is counted
// in `active_`; the engine has stopped when that is 0, and only then may its threads end.
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/buffer_pool.h"
#include "core/counters.h"
#include "core/delivery_queue.h"
#include "core/free_list.h"
#include "core/histogram.h"
#include "core/payload_memory.h"
#include "core/read_ahead.h"
#include "core/records.h"
#include "core/slot_map.h"
#include "core/timer_wheel.h"
#include "win/completion_port.h"
#include "win/connection.h"
#include "win/connector.h"
#include "win/delivery.h"
#include "win/disk_pool.h"
#include "win/engine_timer.h"
#include "win/io_thread.h"
#include "win/job_hub.h"
#include "win/listener.h"
#include "win/profile.h"
#include "win/put_off_reads.h"
#include "win/thread_identity.h"

namespace iocp {

struct EngineOptions {
  uint32_t io_threads = 1;    // 1..64
  uint32_t disk_threads = 1;  // 1..64
  DeliveryLimits delivery;
  int64_t max_free_buffers = 0;  // 0: unlimited, -1: keep none
  int64_t max_free_contexts = 0;
  bool skip_on_success = true;
};

class Engine final {
 public:
  // Called when records wait and nobody has been told; on any thread, without locks; must not block.
  using Wake = void (*)(void* context);

  Engine(const EngineOptions& options, Wake wake, void* wake_context);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // -- JavaScript thread ------------------------------------------------------------------------
  // 0, or the Win32 number; then nothing is left behind.
  uint32_t start();
  uint32_t add_profile(Profile profile);
  // Null when there is none of this number.
  ProfileRef profile(uint32_t index) const;
  // The number may be given to another one; connections that have this one keep it. False when there is none.
  bool free_profile(uint32_t index);
  // 0 and *index, or the number and in *syscall the call that failed; then nothing is left behind.
  uint32_t listen(const ListenOptions& options, uint32_t* index, const char** syscall);
  Listener* listener(uint32_t index) const;
  // LISTENER_CLOSED follows.
  void close_listener(uint32_t index);
  // CONNECTED or CONNECT_FAILED follows, exactly one, with the token. False when the engine has ended and
  // nothing can follow.
  bool connect(const ConnectOptions& options);
  // Advisory: the record follows all the same.
  void cancel_connect(uint32_t token);
  // Ends everything, connections gracefully within the deadline; the record STOPPED is the last.
  void stop(uint32_t deadline_ms);
  // After STOPPED: waits for the threads.
  void join();
  // Once, before the first connection: packets may be routed to workers from now on.
  const std::shared_ptr<JobHub>& open_jobs(const JobHubOptions& options);
  // At any moment: ends everything at once and waits until the kernel has let go of all memory.
  void abandon();

  // Calls f(Connection&) with a count held, so that f may do anything. False when the id is stale. The
  // count may have become the last one, and giving it back then reports the close: hence the wake-up.
  template <class F>
  bool with_connection(ConnectionId id, F&& f) {
    Connection* found = nullptr;
    connections_.with(id, [&](Connection& connection) {
      if (connection.try_add_ref()) found = &connection;
    });
    if (found == nullptr) return false;
    f(*found);
    found->release();
    wake_if_needed();
    return true;
  }

  // -- any thread -------------------------------------------------------------------------------
  Delivery& delivery() { return delivery_; }
  void deliver(const Record& record, const void* data, size_t size, DeliveryCredit* credit) {
    delivery_.append(record, data, size, credit);
  }
  void deliver_sent(ConnectionId id, uint32_t token, SendOutcome outcome);
  // What others are likely to follow soon: nobody is woken for it alone, but with the next record, or the next
  // connection that is scheduled, of another kind; by publish_gathered(); or by a timer, should neither come.
  void deliver_gathered(const Record& record, const void* data, size_t size);
  void schedule_gathered(ReadyList* ready);
  void publish_gathered();
  // Wakes the draining thread if there is something new. I/O threads do so twice per turn.
  void wake_if_needed() {
    const bool wanted = wake_wanted_.load(std::memory_order_relaxed) && wake_wanted_.exchange(false);
    if (delivery_.needs_wake() || (wanted && delivery_.begin_wake())) wake_(wake_context_);
  }
  // The draining thread has something to do besides the records; the next wake_if_needed() sees to it.
  void want_wake() { wake_wanted_.store(true); }
  // The draining thread: has an I/O thread wake it, new records or not.
  void wake_from_outside();
  // Takes the count of the caller over.
  void schedule(Connection* connection);
  void schedule_all(ReadyList* ready);
  void post(Operation* operation);
  void arm(EngineTimer& timer, uint32_t delay_ms);
  void cancel(EngineTimer& timer);
  void count(Counter counter, uint64_t n) { counters_.add(thread_index(), counter, n); }
  static uint64_t now_ms() { return GetTickCount64(); }
  static uint32_t coarse_ms() { return static_cast<uint32_t>(GetTickCount64()); }
  DiskPool& disk() { return disk_; }
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  bool skips_on_success() const { return skip_on_success_; }
  // Parked connections may read again.
  void resume_parked();
  // Every connection looks again whether it may read.
  void unpark_all();
  // Calls f(Connection&) for all that are open, each with a count held.
  template <class F>
  void for_each_connection(F&& f) {
    // Counts are taken under the map's lock and used outside of it.
    std::vector<Connection*> held;
    connections_.for_each([&](ConnectionId, Connection& connection) {
      if (connection.try_add_ref()) held.push_back(&connection);
    });
    for (Connection* connection : held) {
      f(*connection);
      connection->release();
    }
  }
  // Null: there are no workers. Fixed before the first connection.
  JobHub* jobs() const { return jobs_.get(); }

  // -- I/O threads ------------------------------------------------------------------------------
  BufferPool<SrwLock>& read_buffers() { return read_buffers_; }
  ReadAheadBlocks& read_ahead_blocks() { return read_ahead_blocks_; }
  BufferPool<SrwLock>& wait_buffers() { return wait_buffers_; }
  // Reads that wait with a buffer lock pages: their number is bounded.
  bool may_read_directly() const {
    return direct_reads_.load(std::memory_order_relaxed) < direct_limit_.load(std::memory_order_relaxed);
  }
  bool few_direct_reads() const { return direct_reads_.load(std::memory_order_relaxed) < kFewDirectReads; }
  bool few_new_reads() const { return direct_reads_.load(std::memory_order_relaxed) < kFewNewReads; }
  void direct_read_began() { direct_reads_.fetch_add(1, std::memory_order_relaxed); }
  void direct_read_ended() { direct_reads_.fetch_sub(1, std::memory_order_relaxed); }
  void shed_direct_reads();
  const CompletionPort& port() const { return port_; }
  // Makes a connected socket a connection, announces it and lets it read. False when that failed.
  bool adopt(UniqueSocket socket, const ProfileRef& profile, const Address& local, const Address& remote,
             Listener* listener, const Record& announcement);
  void forget(Connection* connection);
  // Of a call that has failed at once: no packet should come, and none that does may find freed memory.
  void keep_for_late_packet(std::unique_ptr<TransmitOperation> operation);
  void forget_attempt(ConnectAttempt* attempt);
  void active_add() { active_.fetch_add(1, std::memory_order_relaxed); }
  // False when the engine has ended: what has become 0 stays so.
  bool try_active_add();
  void active_release();

  // Puts a connection's next read off until this thread has done what else there is to do. False when
  // the caller is no thread that could.
  bool read_later(Connection* connection);
  // Called by every I/O thread between two waits.
  // `thread` is its place among the I/O threads, from 0.
  void end_turn(uint32_t thread);
  // How long the thread may sleep; *wake_at goes back to end_wait().
  uint32_t begin_wait(uint32_t thread, uint64_t* wake_at);
  void end_wait(uint64_t wake_at);
  void run_timers();
  void post_quit();

  struct Totals {
    uint64_t connections;
    uint64_t peak_connections;
    uint64_t total_connections;
    uint64_t active;
    uint64_t direct_reads;
    uint64_t profiles;  // kept, by whomever
  };
  Totals totals() const;
  PoolStats context_stats() const { return contexts_.stats(); }
  PoolStats read_buffer_stats() const { return read_buffers_.stats(); }
  PoolStats wait_buffer_stats() const { return wait_buffers_.stats(); }
  Counters& counters() { return counters_; }
  // Sums over all connections, read only when somebody asks.
  SendQueue::Totals queued();
  Histogram& batch_records() { return batch_records_; }
  Histogram& delivery_latency_us() { return delivery_latency_us_; }

 private:
  // With a buffer of 8 KiB each: 32 MiB, and 128 MiB.
  static constexpr uint32_t kFewDirectReads = 4096;
  static constexpr uint32_t kFewNewReads = 256;  // a crowd that connects and then says nothing is no reason for more
  static constexpr uint32_t kMostDirectReads = 16 * 1024;

  class StopTimer final : public EngineTimer {
   public:
    explicit StopTimer(Engine* engine) : engine_(engine) {}
    bool hold() override { return true; }  // cancelled before the engine goes
    void fire() override { engine_->cut_all(); }

   private:
    Engine* engine_;
  };

  class GatherTimer final : public EngineTimer {
   public:
    explicit GatherTimer(Engine* engine) : engine_(engine) {}
    bool hold() override { return true; }  // a part of the engine, which ends the I/O threads before it goes
    void fire() override { engine_->end_gathering(); }

   private:
    Engine* engine_;
  };

  void begin_gathering();
  void end_gathering();
  void begin_stop();  // I/O thread
  void cut_all();
  void cancel_all_attempts();
  void nudged() { nudge_posted_.store(false); }  // what it is for happens when the turn ends
  void rewake();
  void serve_ready();
  void serve_posted_ready();
  void serve_unposted();
  void resume_some();
  void drop_late_operations();
  // 0: not an I/O thread of this engine; else 1 + its index.
  size_t thread_index() const { return ThreadIdentity::number_of(this); }
  void end_threads();

  const EngineOptions options_;
  const Wake wake_;
  void* const wake_context_;
  bool skip_on_success_ = false;
  CompletionPort port_;
  Delivery delivery_;
  std::shared_ptr<JobHub> jobs_;
  Counters counters_;
  Histogram batch_records_;
  Histogram delivery_latency_us_;  // from a batch's first record to its call
  BufferPool<SrwLock> read_buffers_;
  ReadAheadBlocks read_ahead_blocks_;
  BufferPool<SrwLock> wait_buffers_;
  const PayloadMemory::User payload_memory_;
  FreeList<Connection, SrwLock> contexts_;
  SlotMap<Connection, SrwLock> connections_;
  std::atomic<uint32_t> profiles_alive_{0};
  std::vector<ProfileRef> profiles_;                  // JavaScript thread
  std::vector<uint32_t> free_profiles_;               // numbers of it that nobody has
  std::vector<std::unique_ptr<Listener>> listeners_;  // JavaScript thread; freed with the engine
  std::vector<std::unique_ptr<IoThread>> threads_;    // JavaScript thread
  DiskPool disk_;
  std::unique_ptr<PutOffReads[]> put_off_reads_;  // each its thread's alone

  SrwLock attempts_lock_;
  std::unordered_map<uint32_t, ConnectAttempt*> attempts_;  // by token: those that have not reported

  mutable SrwLock timers_lock_;
  TimerWheel timers_;
  uint64_t next_housekeeping_ms_ = 0;               // under timers_lock_
  std::atomic<uint64_t> next_wake_ms_{UINT64_MAX};  // when the first sleeper wakes by itself
  std::atomic<bool> nudge_posted_{false};
  PostedOperation<Engine, &Engine::nudged> nudge_operation_{this};

  GatherTimer gather_timer_{this};
  std::atomic<bool> gather_timer_armed_{false};

  std::atomic<bool> wake_wanted_{false};
  std::atomic<bool> rewake_posted_{false};
  PostedOperation<Engine, &Engine::rewake> rewake_operation_{this};

  SrwLock ready_lock_;
  std::deque<Connection*> ready_;  // each with a count of the list
  bool ready_posted_ = false;      // ready_operation_ is on its way: it must not be posted twice
  std::atomic<bool> has_ready_{false};
  PostedOperation<Engine, &Engine::serve_posted_ready> ready_operation_{this};

  SrwLock unposted_lock_;
  Operation* unposted_ = nullptr;
  std::atomic<bool> has_unposted_{false};

  SrwLock late_lock_;
  std::vector<std::unique_ptr<TransmitOperation>> late_;        // younger than kLatePacketMs
  std::vector<std::unique_ptr<TransmitOperation>> late_older_;  // younger than twice that
  uint64_t late_aged_ms_ = 0;

  std::atomic<bool> resume_posted_{false};
  PostedOperation<Engine, &Engine::resume_some> resume_operation_{this};

  PostedOperation<Engine, &Engine::begin_stop> stop_operation_{this};
  PostedOperation<Engine, &Engine::cut_all> cut_operation_{this};
  StopTimer stop_timer_{this};
  uint32_t stop_deadline_ms_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> drained_{0};
  std::atomic<uint32_t> cut_{0};

  std::atomic<uint64_t> active_{1};  // 1: the engine itself, until it is told to stop
  SrwLock stopped_lock_;
  Condition stopped_changed_;
  bool stopped_ = false;

  std::atomic<uint32_t> direct_reads_{0};
  std::atomic<uint32_t> direct_limit_;
  std::atomic<uint64_t> open_connections_{0};
  std::atomic<uint64_t> peak_connections_{0};
  std::atomic<uint64_t> total_connections_{0};
};

}  // namespace iocp
