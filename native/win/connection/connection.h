#pragma once
// One TCP connection: its socket, its life, what is asked of it. Its two directions are its Receiver and its Sender.
//
// Lifetime: one count while the connection is open, one for every operation in the kernel, one for
// every thread that has looked it up. Whoever brings the count to 0 reports the close and frees it.
//
// Threads: the JavaScript thread looks up, queues sends and leaves requests; I/O threads do the rest.
// Receiving is a strand: at most one thread at a time posts reads, takes their results in order and
// decodes. Sending is a strand likewise. Both call the socket without the lock, as its users
// (GuardedSocket).
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/connection_id.h"
#include "core/records.h"
#include "core/ref.h"
#include "win/connection/connection_engine.h"
#include "win/connection/connection_files.h"
#include "win/connection/preamble.h"
#include "win/connection/receiver.h"
#include "win/connection/sender.h"
#include "win/io/profile.h"
#include "win/io/timers.h"
#include "win/sys/address.h"
#include "win/sys/guarded_socket.h"
#include "win/sys/handles.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Listener;

// What a program may ask about one.
struct ConnectionStats {
  uint64_t bytes_read;
  uint64_t bytes_written;
  uint64_t packets_read;
  uint64_t packets_written;
  uint64_t queued_bytes;
  uint32_t queued_packets;
};

class Connection final {
 public:
  // What the JavaScript thread (or a timer) wants an I/O thread to do.
  enum Request : uint32_t {
    kSend = 1,
    kReceive = 2,
    kEnd = 4,
    kDestroy = 8,
    kReset = 16,
    kCut = 32,             // a deadline has passed: reset with the cause that end() left
    kUpkeep = 64,          // look at the time limits, and whether it is still busy
    kDropped = 128,        // packets were dropped: say so
    kRetry = 256,          // the wait after a shortage is over
    kCloseLate = 512,      // cancelled operations have not come back: close the socket all the same
    kAbandonFiles = 1024,  // calls on files have not come back: cancel them once more
  };

  Connection(ConnectionEngine* engine, const ProfileRef& profile, UniqueSocket socket, const Address& local,
             const Address& remote, Listener* listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // -- any thread -------------------------------------------------------------------------------
  void add_ref() { refs_.add(); }
  // False when the last count is already gone.
  bool try_add_ref() { return refs_.try_add(); }
  // May free the connection. No lock of the connection or of the map may be held.
  void release();

  ConnectionId id() const { return id_; }
  const Address& local() const { return local_; }
  const Address& remote() const { return remote_; }
  Receiver& receiver() { return receiver_; }
  const Receiver& receiver() const { return receiver_; }
  Sender& sender() { return sender_; }
  // Made with the first file.
  ConnectionFiles& files();
  // Null when there has been none.
  ConnectionFiles* files_if_any();
  // Leaves a request for an I/O thread.
  void request(uint32_t bits);
  // `cause` is what 'close' will say unless something else closes the connection first.
  void request_end(CloseCause cause, uint32_t deadline_ms);
  // Leaves `how` (kDestroy or kReset) as a request; `cause` is what 'close' will say.
  void request_close(CloseCause cause, uint32_t how);
  // False when something else has closed it.
  bool close(CloseCause cause, uint32_t detail, bool abortive);
  // Whether JavaScript has been, or is just being, told of it.
  bool is_announced() const { return stage_.load(std::memory_order_acquire) == Stage::announced; }
  // Closes one because of its preamble.
  void refuse(Refusal why);
  // The preamble's timer: it has waited long enough. It may be through at this moment.
  void refuse_if_undecided(Refusal why);
  // The same for who does not want to wait for anything: not for a disk either, when all bytes of a file
  // have come and only have to be written.
  void close_now(CloseCause cause, uint32_t detail, bool abortive);
  // What it sends with, and keeps alive.
  ProfileRef send_profile();
  ConnectionStats stats();

  // -- the engine's JavaScript thread -----------------------------------------------------------
  void set_framing(ProfileRef profile);
  // In force at once. What they count from does not change; where there were none, it is now.
  void set_time_limits(const TimeLimits& limits);
  // While files are under way the FIN waits, though not beyond the deadline of the end.
  void hold_end(bool on);

  // -- routed packets ---------------------------------------------------------------------------
  void jobs_added(uint32_t count) { receiver_.jobs_added(count); }
  void job_ended() { receiver_.job_ended(); }

  // -- the engine -------------------------------------------------------------------------------
  // Sets the id, before anybody can look the connection up.
  void set_id(ConnectionId id) { id_ = id; }
  // Before anybody can look it up: it is not announced before that is over.
  void begin_preamble(const Ref<Preamble>& preamble);
  // What has become of one that was not announced: its peer has left before anybody decided.
  bool was_undecided() const {
    return stage_.load(std::memory_order_acquire) == Stage::preamble && cause_ != CloseCause::server_closing;
  }
  // Whether something of the peer waits in the socket.
  bool has_unread_bytes();
  void service();
  void unpark() { receiver_.unpark(); }
  Listener* listener() const { return listener_; }  // null: this side connected
  // How the access table counts it (AccessControl::enter).
  uint8_t subnet_bits() const { return subnet_bits_; }
  void set_subnet_bits(uint8_t bits) { subnet_bits_ = bits; }
  CloseCause cause() const { return cause_; }  // with the last count
  bool was_cut() const { return cause_ == CloseCause::server_closing && detail_ != 0; }

  // -- its receiver, its sender and its files ---------------------------------------------------
  ConnectionEngine* engine() const { return engine_; }
  const SharedProfile& profile() const { return *profile_; }
  SrwLock& lock() { return lock_; }
  // The strands enter it; it stays open while an operation on it may be under way.
  GuardedSocket& socket() { return socket_; }
  bool is_closing_locked() const { return socket_.is_closing(); }
  // True when the caller has to schedule the connection, without the lock.
  bool request_locked(uint32_t bits);
  void schedule() { engine_->schedule(Ref<Connection>(this)); }

  // What has to be done when the last thread has left the socket of a connection that is closing.
  struct ToClose {
    UniqueSocket socket;  // to close now, because nothing is pending; else it stays until all packets have come
    bool cancel = false;  // reads or a write are in the kernel
    bool abortive = false;
  };
  // A strand leaves the socket. Then close_socket(), without the lock.
  void leave_locked(ToClose* to_close);
  void close_socket(ToClose to_close);
  void leave();
  // A call or an operation on an open connection failed for good.
  void fail(uint32_t error);

  // After a shortage: holds a strand back until the timer's request, for whatever else wants it to run
  // meanwhile must not use the retries up. True when the timer, which both share, has to be armed.
  enum class Strand : uint8_t { receiving = 1, sending = 2 };
  bool hold_back_locked(Strand strand);
  bool is_held_back_locked(Strand strand) const { return (held_back_ & static_cast<uint8_t>(strand)) != 0; }
  void arm_retry(uint32_t delay_ms);
  void arm_upkeep(uint32_t delay_ms) { engine_->arm_sooner(upkeep_timer_, delay_ms); }
  // Null: it has no time limits.
  TimeWatch* watch() const { return watch_.load(std::memory_order_acquire); }
  TimeLimits time_limits();
  // The strands: a limit has begun, and is over after so long.
  void check_times_in(uint32_t delay_ms);
  void arm_abandon_files(uint32_t delay_ms);

  // The first file, or the one with a number, that keeps a place in the send queue and may not go yet.
  const SendFile* find_held_file_locked(uint32_t id) const;

  // How far the two directions have come to their ends. Under the lock.
  struct End {
    CloseCause cause = CloseCause::none;
    uint32_t deadline_ms = 0;
    bool requested = false;
    bool held = false;       // files are under way
    bool shut_down = false;  // our FIN is out
    bool peer_ended = false;
  };
  End& end_locked() { return end_; }
  // Under the lock: nothing is sent any more, not even about files.
  bool is_over_locked() const { return socket_.is_closing() || end_.shut_down; }
  // The receiving strand: the preamble is through. False when the connection closes.
  bool end_preamble(Preamble& preamble);
  void set_remote(const Address& remote) { remote_ = remote; }
  // The receiving strand: the framing that comes next takes the place of the old one.
  const Framing& take_receive_framing();

  // With the last count, and once more behind its last file when one had to be closed.
  void finalize();

 private:
  template <uint32_t bits>
  void leave_request() {
    request(bits);
  }
  template <uint32_t bits>
  using RequestTimer = MemberTimer<Connection, &Connection::leave_request<bits>>;
  // Most connections never need them.
  struct RareTimers {
    explicit RareTimers(Connection* owner) : retry(owner), deadline(owner), late_close(owner), abandon_files(owner) {}
    RequestTimer<kSend | kReceive | kRetry> retry;  // after a shortage of memory
    RequestTimer<kCut> deadline;
    RequestTimer<kCloseLate> late_close;
    RequestTimer<kAbandonFiles> abandon_files;
  };
  // Framings that have taken the place of those of profile_. Only few connections have this.
  struct ChangedFramings {
    ProfileRef send;
    ProfileRef receive;
    ProfileRef next_receive;
  };

  // A connection without a preamble is announced from the beginning.
  enum class Stage : uint8_t { preamble, decided, announced };
  // False when another thread has decided, or it is closing.
  bool decide();
  void take_socket_locked(ToClose* to_close);
  void close_late();
  // connection_times.cc
  void start_watch(const TimeLimits& limits);
  void check_times();
  void tell_time_event(TimeEvent event, uint32_t times);
  void abandon_files(bool also_complete);
  // Its life is over, since so many milliseconds: first the program is told. Returns when to come again.
  uint32_t end_life(uint32_t over_ms, uint32_t deadline_ms);
  bool begin_end_locked(CloseCause cause, uint32_t deadline_ms);  // false when it is ending already
  RareTimers& rare_timers();

  ConnectionEngine* const engine_;
  const ProfileRef profile_;
  Listener* const listener_;
  ConnectionId id_;
  RefCount refs_;
  SrwLock lock_;

  // Under lock_.
  GuardedSocket socket_;
  uint32_t requests_ = 0;
  CloseCause cause_ = CloseCause::none;
  CloseCause requested_cause_ = CloseCause::local;  // of kDestroy and kReset
  uint32_t detail_ = 0;
  bool abortive_ = false;
  bool scheduled_ = false;                      // in the engine's list of connections to serve
  uint8_t held_back_ = 0;                       // strands, until rare_timers_->retry
  uint8_t subnet_bits_ = UINT8_MAX;             // set before it is announced
  uint64_t born_ms_ = 0;                        // set before watch_
  std::atomic<Stage> stage_{Stage::announced};  // written under lock_, or before anybody can find it
  End end_;
  std::unique_ptr<ChangedFramings> changed_framings_;
  std::unique_ptr<ConnectionFiles> files_;   // made with the first one
  std::unique_ptr<RareTimers> rare_timers_;  // made when one is needed

  Receiver receiver_;
  Sender sender_;
  std::atomic<TimeWatch*> watch_{nullptr};      // made when there are limits, freed with the connection
  std::unique_ptr<TimeLimits> changed_limits_;  // under lock_: in the place of those of profile_
  RequestTimer<kUpkeep> upkeep_timer_;
  Address local_;
  Address remote_;
};

}  // namespace iocp
