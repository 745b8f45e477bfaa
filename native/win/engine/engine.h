#pragma once
// One completion port (IoContext) with its I/O threads, listeners, attempts to connect and connections.
//
// Belongs to one JavaScript environment. Everything that lives in the kernel on its behalf is counted
// in `active_`; the engine has stopped when that is 0, and only then may its threads end.
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/free_list.h"
#include "core/histogram.h"
#include "core/records.h"
#include "core/ref.h"
#include "core/slot_map.h"
#include "win/connection/connection.h"
#include "win/connection/connection_engine.h"
#include "win/engine/access_control.h"
#include "win/engine/connect_attempt.h"
#include "win/engine/deferred_reads.h"
#include "win/engine/io_thread.h"
#include "win/engine/listener.h"
#include "win/io/profile.h"

namespace iocp {

// A socket that is to become a connection.
struct NewConnection {
  UniqueSocket socket;
  const ProfileRef& profile;
  Address local;
  Address remote;
  Listener* listener;  // null: this side connected
  Record announcement;
  uint8_t subnet_bits = AccessControl::kNotCounted;
  Ref<Preamble> preamble{};  // it is announced, and counted, when that is over
  ByteSpan preface{};        // leaves before anything that a program sends
};

struct EngineOptions : IoOptions {
  int64_t max_free_contexts = 0;  // 0: unlimited, -1: keep none
};

class Engine final : public ConnectionEngine {
 public:
  Engine(const EngineOptions& options, Wake wake, void* wake_context);
  ~Engine();

  // -- JavaScript thread ------------------------------------------------------------------------
  // 0, or the number and in *syscall the call that failed; then nothing is left behind.
  uint32_t start(const char** syscall);
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
  // Who may connect from now on. Those who are in stay in; they count only if there were rules when they came.
  void set_access(std::shared_ptr<const AccessRules> rules);
  // CONNECTED or CONNECT_FAILED follows, exactly one, with the token. False when the engine has ended and
  // nothing can follow.
  bool connect(const ConnectOptions& options);
  // Advisory: the record follows all the same.
  void cancel_connect(uint32_t token);
  // Ends everything, connections gracefully within the deadline; the record STOPPED is the last.
  void stop(uint32_t deadline_ms);
  // After STOPPED: waits for the threads.
  void join();
  // Once, before the first connection. It has to outlive the engine.
  void route_packets(PacketRouter* router) { router_ = router; }
  // At any moment: ends everything at once and waits until the kernel has let go of all memory.
  void shutdown_now();

  // Calls f(Connection&) with a count held, so that f may do anything. False when the id is stale. The
  // count may have become the last one, and giving it back then reports the close: hence the wake-up.
  template <class F>
  bool with_connection(ConnectionId id, F&& f) {
    Ref<Connection> found;
    connections_.with(id, [&](Connection& connection) { found = Ref<Connection>::try_from(&connection); });
    if (!found) return false;
    f(*found);
    found = nullptr;
    wake_if_needed();
    return true;
  }

  // -- any thread -------------------------------------------------------------------------------
  void schedule(Ref<Connection> connection) override;
  void schedule_all(ReadyList* ready);
  // A record that others are likely to follow soon: the draining thread is not woken for it alone, but with the next
  // record of another kind, by publish_gathered(), or by a timer, should neither come.
  void deliver_gathered(const Record& record, const void* data, size_t size);
  void publish_gathered();
  // Null: everybody may connect.
  AccessControl* access() const { return access_.load(std::memory_order_acquire); }
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  // Parked connections may read again.
  void resume_parked();
  // Every connection looks again whether it may read.
  void unpark_all();
  // Calls f(Connection&) for all that are open, each with a count held.
  template <class F>
  void for_each_connection(F&& f) {
    // Counts are taken under the map's lock and used outside of it.
    std::vector<Ref<Connection>> held;
    connections_.for_each([&](ConnectionId, Connection& connection) {
      if (auto one = Ref<Connection>::try_from(&connection)) held.push_back(std::move(one));
    });
    for (Ref<Connection>& connection : held) {
      f(*connection);
      connection = nullptr;
    }
  }

  // -- I/O threads ------------------------------------------------------------------------------
  // Makes a connected socket a connection, announces it and lets it read. 0, or the number; then the
  // socket is closed and nothing is told.
  uint32_t add_connection(NewConnection added);
  bool admit(Connection* connection, bool is_client) override;
  void announce(Connection* connection, ByteSpan details) override;
  // One more peer has been refused: the program is told of all of them, by their reasons, at most once a second.
  void note_refused(Refusal refusal) override;
  // The same where the table has counted it.
  void tell_refused();
  // The record of those who were refused, and of what was forgotten too early, at most once a second.
  void report_refused_soon();
  void remove_connection(Connection* connection) override;
  void keep_for_late_packet(std::unique_ptr<TransmitOperation> operation) override;
  void remove_attempt(ConnectAttempt* attempt);
  void active_add() { active_.add(); }
  // False when the engine has ended.
  bool try_active_add() { return active_.try_add(); }
  void active_release();

  bool defer_read(Connection* connection) override;
  // Called by every I/O thread between two waits.
  // `thread` is its place among the I/O threads, from 0.
  void end_turn(uint32_t thread);
  // How long the thread may sleep; *wake_at goes back to end_wait().
  uint32_t begin_wait(uint32_t thread, uint64_t* wake_at);
  void end_wait(uint64_t wake_at) { end_sleep(wake_at); }
  void run_timers();
  using IoContext::post_quit;

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
  // Sums over all connections, read only when somebody asks.
  SendQueue::Totals queued();
  Histogram& batch_records() { return batch_records_; }
  Histogram& delivery_latency_us() { return delivery_latency_us_; }

 private:
  void announce(Connection* connection, Record record, ByteSpan details);
  void end_gathering();
  void report_refused();
  void deliver_refused();
  static void judge(AccessControl& control, const Connection& connection);
  void begin_shutdown();  // I/O thread
  void reset_all();
  void cancel_all_attempts();
  void serve_ready();
  void serve_posted_ready();
  void resume_some();
  void drop_late_operations();
  void end_threads();

  const EngineOptions options_;
  std::unique_ptr<AccessControl> access_control_;  // JavaScript thread; freed with the engine
  std::atomic<AccessControl*> access_{nullptr};
  std::atomic<bool> refused_timer_armed_{false};
  MemberTimer<Engine, &Engine::report_refused, NoTimerHold> refused_timer_{this};
  Histogram batch_records_;
  Histogram delivery_latency_us_;  // from a batch's first record to its call
  FreeList<Connection, SrwLock> contexts_;
  SlotMap<Connection, SrwLock> connections_;
  std::atomic<uint32_t> profiles_alive_{0};
  std::vector<ProfileRef> profiles_;                  // JavaScript thread
  std::vector<uint32_t> free_profiles_;               // numbers of it that nobody has
  std::vector<std::unique_ptr<Listener>> listeners_;  // JavaScript thread; freed with the engine
  std::vector<std::unique_ptr<IoThread>> threads_;    // JavaScript thread
  std::unique_ptr<DeferredReads[]> deferred_reads_;   // each its thread's alone

  SrwLock attempts_lock_;
  std::unordered_map<uint32_t, ConnectAttempt*> attempts_;  // by token: those that have not reported

  SrwLock ready_lock_;
  std::deque<Ref<Connection>> ready_;
  bool ready_posted_ = false;  // ready_operation_ is on its way: it must not be posted twice
  std::atomic<bool> has_ready_{false};
  PostedOperation<Engine, &Engine::serve_posted_ready> ready_operation_{this};

  SrwLock late_lock_;
  std::vector<std::unique_ptr<TransmitOperation>> late_;        // younger than kLatePacketMs
  std::vector<std::unique_ptr<TransmitOperation>> late_older_;  // younger than twice that
  uint64_t late_aged_ms_ = 0;

  std::atomic<bool> resume_posted_{false};
  PostedOperation<Engine, &Engine::resume_some> resume_operation_{this};

  PostedOperation<Engine, &Engine::begin_shutdown> stop_operation_{this};
  PostedOperation<Engine, &Engine::reset_all> cut_operation_{this};
  // A part of the engine, which ends the I/O threads before it goes.
  MemberTimer<Engine, &Engine::end_gathering, NoTimerHold> gather_timer_{this};
  std::atomic<bool> gather_timer_armed_{false};

  MemberTimer<Engine, &Engine::reset_all, NoTimerHold> stop_timer_{this};  // cancelled before the engine goes
  uint32_t stop_deadline_ms_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> drained_{0};
  std::atomic<uint32_t> cut_{0};

  RefCount active_;  // 1: the engine itself, until it is told to stop
  SrwLock stopped_lock_;
  Condition stopped_changed_;
  bool stopped_ = false;

  std::atomic<uint64_t> open_connections_{0};
  std::atomic<uint64_t> peak_connections_{0};
  std::atomic<uint64_t> total_connections_{0};
};

}  // namespace iocp
