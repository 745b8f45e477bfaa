#pragma once
// One TCP connection: its socket, its operations, its order.
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
#include <vector>

#include "core/buffer_pool.h"
#include "core/connection_id.h"
#include "core/delivery_queue.h"
#include "core/framing/frame_state.h"
#include "core/records.h"
#include "core/ref.h"
#include "core/send_queue.h"
#include "core/sequencer.h"
#include "core/transfer_protocol.h"
#include "win/connection/connection_engine.h"
#include "win/connection/connection_files.h"
#include "win/files/receive_file.h"
#include "win/files/send_file.h"
#include "win/io/profile.h"
#include "win/io/timers.h"
#include "win/sys/address.h"
#include "win/sys/guarded_socket.h"
#include "win/sys/handles.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Connection;
class Listener;
using ReadyList = std::vector<Ref<Connection>>;

struct ReadOperation final : Operation {
  explicit ReadOperation(Connection* owner);
  Connection* connection;
  uint64_t number = 0;
  PooledBuffer<SrwLock> buffer;  // empty: a zero-byte read
  bool busy = false;             // receiving strand: posted and not yet taken
  bool cancelled = false;        // receiving strand: by cool()
};

struct SendOperation final : Operation {
  explicit SendOperation(Connection* owner);
  Connection* connection;
};

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
    kCool = 64,            // has been quiet: back to zero-byte reads
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
  // Leaves a request for an I/O thread.
  void request(uint32_t bits);
  // `cause` is what 'close' will say unless something else closes the connection first.
  void request_end(CloseCause cause, uint32_t deadline_ms);
  // Leaves `how` (kDestroy or kReset) as a request; `cause` is what 'close' will say.
  void request_close(CloseCause cause, uint32_t how);
  void close(CloseCause cause, uint32_t detail, bool abortive);
  // The same for who does not want to wait for anything: not for a disk either, when all bytes of a file
  // have come and only have to be written.
  void close_now(CloseCause cause, uint32_t detail, bool abortive);
  ConnectionStats stats();

  // -- any JavaScript thread --------------------------------------------------------------------
  enum class PushResult { accepted, dropped, unframeable, closed, overflow, reframe };
  // Copies the payload, or with `owner` takes one count of what keeps it in place. A connection that
  // an I/O thread has to serve now is added to `ready`: Engine::schedule_all() it when
  // everything has been pushed, so that the packets of one submission leave in one write.
  PushResult push(ByteSpan payload, SendOwner* owner, uint32_t token, ReadyList* ready);
  // The same for bytes that stand as `framing` wants them on the wire. PushResult::reframe, and nothing
  // has happened, when that is not the connection's framing any more.
  PushResult push_encoded(const Framing* framing, ByteSpan bytes, SendOwner* owner, uint32_t token, ReadyList* ready);
  // To compare with; it may be gone a moment later. On the engine's own JavaScript thread, which alone changes it, it
  // stays until that does.
  const Framing* send_framing() const { return send_framing_.load(std::memory_order_acquire); }
  // What it sends with, and keeps alive. Any thread.
  ProfileRef send_profile();
  SendQueue::Totals queued();
  // One packet is gone for another reason than the overflow policy.
  void report_lost(uint64_t bytes, SendOutcome why);

  // -- the engine's JavaScript thread -----------------------------------------------------------
  void pause() { paused_.store(true, std::memory_order_release); }
  void resume();
  void demand(uint32_t packets);
  void set_framing(ProfileRef profile);
  // One DRAIN record as soon as the queue is at the low-water mark, at once if it is already.
  void want_drain();

  // -- files ------------------------------------------------------------------------------------
  // Made with the first one.
  ConnectionFiles& files();
  // Null when there has been none.
  ConnectionFiles* files_if_any();
  // Queued behind what is there, whatever the overflow policy says: there are few, and none may be lost.
  bool push_transfer(const Framing* framing, const TransferFrame& frame);
  // The same for a whole packet that is not one of the frames. It goes before the file with the number `before`, or
  // else before the first one that is held back: what that one keeps back is what was sent later, not what is said
  // about files.
  bool push_control(ByteSpan packet, uint32_t before);
  // While files are under way the FIN waits, though not beyond the deadline of the end.
  void hold_end(bool on);

  // -- routed packets ---------------------------------------------------------------------------
  // Receiving strand: so many are on their way to the workers.
  void jobs_added(uint32_t count);
  // Any thread: a worker is through with one, or nobody will do it.
  void job_ended();

  // -- I/O threads ------------------------------------------------------------------------------
  // Sets the id, before anybody can look the connection up.
  void set_id(ConnectionId id) { id_ = id; }
  // Reads and decodes, unless another thread is at it, which then goes on.
  void run_receive();
  // The same, for a read that was deferred (ConnectionEngine::defer_read).
  void run_deferred_read();
  // False when a deferred read is due already.
  bool begin_deferral() { return !read_deferred_.exchange(true); }
  void service();
  // There is room in the delivery queue again.
  void unpark();
  Listener* listener() const { return listener_; }  // null: this side connected
  bool was_cut() const { return cause_ == CloseCause::server_closing && detail_ != 0; }

 private:
  friend struct ReadOperation;
  friend struct SendOperation;
  friend class PacketSink;
  friend class ConnectionFiles;
  struct ReadItem {
    ReadOperation* operation = nullptr;
    uint32_t bytes = 0;
    uint32_t error = 0;
  };
  template <uint32_t bits>
  void leave_request() {
    request(bits);
  }
  template <uint32_t bits>
  using RequestTimer = MemberTimer<Connection, &Connection::leave_request<bits>>;
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
  // What has to be done when the last thread has left the socket of a connection that is closing.
  struct ToClose {
    UniqueSocket socket;  // to close now, because nothing is pending; else it stays until all packets have come
    bool cancel = false;  // reads or a write are in the kernel
    bool abortive = false;
  };

  // connection.cc
  void finalize();
  void leave();
  void leave_locked(ToClose* to_close);
  void take_socket_locked(ToClose* to_close);
  void close_socket(ToClose to_close);
  void close_late();
  void fail(uint32_t error);
  bool end_locked(CloseCause cause, uint32_t deadline_ms);  // false when it is ending already
  bool wait_locked(bool* waits);
  RareTimers& rare_timers();

  // connection_receive.cc
  void receive_strand();
  bool leave_receive();
  void yield_receive();
  void take_item(ReadItem item);
  bool may_read_now() const;
  bool read_now();
  bool waits_with_buffer() const;
  bool post_reads();
  uint32_t post_read(bool zero_byte, bool* completed);
  void read_failed(uint32_t error, bool zero_byte);
  void on_peer_end();
  void tell_peer_end();
  void received(PooledBuffer<SrwLock> buffer, uint32_t bytes);
  void note_received(uint32_t bytes, bool full);
  ReadOperation* free_read_operation();
  static void on_read_complete(Operation* self, uint32_t error, uint32_t bytes);

  // connection_adapt.cc
  void note_arrival();
  void warm_up();
  void cool();
  void forget_reads();
  template <class F>
  void for_each_direct_read(F&& f);

  // connection_decode.cc
  bool carries_transfers(const Framing& framing) const;
  void take_raw();
  void cut_raw_off();
  bool has_undecoded() const { return current_size_ != current_offset_ || frame_.whole(); }
  bool may_deliver() const;
  bool over_delivery_bound();
  void take_next_framing();
  bool decode_current();
  void consumed(uint32_t bytes);
  void protocol_error(FrameError error);
  void shrink_rest();

  // connection_send.cc
  void run_send();
  void send_strand();
  struct Push {
    ByteSpan payload;
    SendOwner* owner;
    uint32_t token;
    PushResult result = PushResult::closed;
    bool schedule = false;
    SendQueue::Finished dropped{};
  };
  void push_locked(ByteSpan header, ByteSpan trailer, Push* push);
  PushResult after_push(Push* push, ReadyList* ready);
  PushResult make_room_locked(uint64_t size, SendQueue::Finished* dropped);
  size_t max_write() const;
  void after_write(uint32_t bytes, const SendQueue::Finished& finished);
  void write_failed(uint32_t error);
  void send_end();
  void report_finished(const SendQueue::Finished& finished, SendOutcome outcome);
  void report_drain(uint64_t queued);
  void note_dropped(const SendQueue::Finished& dropped);
  void report_dropped();
  static void on_send_complete(Operation* self, uint32_t error, uint32_t bytes);
  void write_complete(uint32_t error, uint32_t bytes);
  uint32_t issue_write(const ByteSpan* spans, size_t count, const SendFile::Piece& piece, DWORD* bytes);
  Ref<SendFile> complete_write_locked(uint32_t bytes, bool written, SendQueue::Finished* finished);
  bool request_locked(uint32_t bits);
  bool push_packet(const Framing* framing, ByteSpan packet, const uint32_t* before);

  void abandon_files(bool also_complete);

  ConnectionEngine* const engine_;
  const ProfileRef profile_;
  Listener* const listener_;
  const Framing* receive_framing_;                             // receiving strand
  std::atomic<const Framing*> send_framing_;                   // written under lock_
  std::atomic<const Framing*> next_receive_framing_{nullptr};  // written under lock_
  ConnectionId id_;
  RefCount refs_;
  SrwLock lock_;

  // Under lock_.
  std::unique_ptr<ChangedFramings> changed_framings_;
  GuardedSocket socket_;  // the strands enter it; it stays open while an operation on it may be under way
  uint32_t requests_ = 0;
  CloseCause cause_ = CloseCause::none;
  CloseCause end_cause_ = CloseCause::none;
  CloseCause requested_cause_ = CloseCause::local;  // of kDestroy and kReset
  uint32_t detail_ = 0;
  uint32_t end_deadline_ms_ = 0;
  bool abortive_ = false;
  bool scheduled_ = false;  // in the engine's list of connections to serve
  bool end_requested_ = false;
  bool end_held_ = false;   // files are under way
  bool shut_down_ = false;  // our FIN is out
  bool peer_ended_ = false;
  bool peer_end_waits_ = false;  // PEER_END comes when the jobs of this connection have ended
  bool receiving_ = false;       // a thread is in the receiving strand
  bool receive_again_ = false;   // somebody asked for a run meanwhile
  bool sending_ = false;         // a thread is in the sending strand, or a write is in the kernel
  bool drain_wanted_ = false;
  bool send_waits_ = false;  // after a shortage, until rare_timers_->retry
  bool read_waits_ = false;
  uint8_t send_retries_ = 0;
  uint32_t jobs_ = 0;  // packets that are with the workers
  uint32_t dropped_packets_ = 0;
  uint64_t dropped_bytes_ = 0;
  SendQueue send_;
  SendFile* written_file_ = nullptr;         // whose piece is in the hands of the sending strand or the kernel
  std::unique_ptr<ConnectionFiles> files_;   // made with the first one
  std::unique_ptr<RareTimers> rare_timers_;  // made when one is needed
  Sequencer<ReadItem> sequencer_;

  // Receiving strand.
  FrameState frame_;
  DeliveryCredit credit_;
  // Bytes that have been read and not yet decoded: in the buffer that they were read into or, when they
  // have to wait, in a block of their size.
  const uint8_t* current_data_ = nullptr;
  PooledBuffer<SrwLock> current_;
  std::unique_ptr<uint8_t[]> rest_;
  uint32_t current_offset_ = 0;
  uint32_t current_size_ = 0;
  uint32_t outstanding_ = 0;  // reads posted and not yet taken
  uint32_t last_arrival_ms_ = 0;
  uint8_t streak_ = 0;  // arrivals in quick succession
  uint8_t read_retries_ = 0;
  bool readable_ = false;      // there may be something to read without waiting
  bool fed_ = false;           // something came since a read was last put off
  bool lucky_ = false;         // the last wait without a buffer was over at once
  bool new_ = true;            // nothing has been read or waited for yet
  bool greeting_ = false;      // waits with a buffer for the peer's first bytes
  bool hot_ = false;           // busy: reads are posted with buffers
  bool non_blocking_ = false;  // the socket is
  bool eof_ = false;
  bool has_routed_ = false;  // packets of it go to workers
  bool takes_transfers_;
  bool takes_iocps_files_;
  bool bad_transfer_ = false;
  ReadOperation read_;
  std::unique_ptr<std::unique_ptr<ReadOperation>[]> more_reads_;  // made when several reads are due

  SendOperation write_;
  RequestTimer<kCool> cool_timer_;

  std::atomic<bool> parked_{false};         // named in the delivery queue's list of those that wait
  std::atomic<bool> cool_check_{false};     // the receiving strand shall see whether it is still busy
  std::atomic<bool> read_deferred_{false};  // in the list of a thread's deferred reads
  std::atomic<bool> paused_{false};
  std::atomic<uint32_t> disk_full_{0};           // received files that have too many writes pending
  std::atomic<ReceiveFile*> raw_file_{nullptr};  // takes what comes, from the next packet boundary on
  std::atomic<int64_t> demand_{0};
  std::atomic<uint64_t> bytes_read_{0};
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> packets_read_{0};
  std::atomic<uint64_t> packets_written_{0};
  Address local_;
  Address remote_;
};

}  // namespace iocp
