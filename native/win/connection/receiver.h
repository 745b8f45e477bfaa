#pragma once
// The receiving half of a connection: a strand that posts reads, takes their results in the order of posting, decodes
// and delivers. At most one thread at a time is in it, whichever I/O thread that is.
//
// By value in its connection, whose lock it uses and whose counts keep it.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/buffer_pool.h"
#include "core/delivery_queue.h"
#include "core/framing/frame_state.h"
#include "core/framing/framing.h"
#include "core/ref.h"
#include "core/sequencer.h"
#include "win/connection/preamble.h"
#include "win/connection/receive_flow.h"
#include "win/connection/receive_rates.h"
#include "win/files/receive_file.h"
#include "win/io/profile.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Connection;
class Receiver;

struct ReadOperation final : Operation {
  explicit ReadOperation(Connection* owner);
  Connection* const connection;
  uint64_t number = 0;
  PooledBuffer<SrwLock> buffer;  // empty: a zero-byte read
  bool busy = false;             // receiving strand: posted and not yet taken
  bool cancelled = false;        // receiving strand: by leave_direct_mode()
};

class Receiver final {
 public:
  Receiver(Connection* connection, const SharedProfile& profile);
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  // -- the engine's JavaScript thread -----------------------------------------------------------
  void pause() { flow_.paused.store(true, std::memory_order_release); }
  void resume();
  void demand(uint32_t packets);
  // Under the lock: the strand asks for it at the next packet boundary (Connection::take_receive_framing).
  void framing_changes_locked(const Framing* next) { flow_.next_framing.store(next, std::memory_order_release); }

  // -- I/O threads ------------------------------------------------------------------------------
  // Reads and decodes, unless another thread is at it, which then goes on.
  void run();
  // The same, for a read that was deferred (ConnectionEngine::defer_read).
  void run_deferred();
  // False when a deferred read is due already.
  bool begin_deferral() { return !deferred_.exchange(true); }
  // The next run sees whether the connection is still busy.
  void check_mode() { mode_check_.store(true); }
  // There is room in the delivery queue again.
  void unpark();
  void unpark_if_parked();
  // Before others know of it.
  void may_have_waited();
  bool is_parked() const { return parked_.load(std::memory_order_acquire); }

  // Before the strand runs: what comes first is the preamble's.
  void begin_preamble(const Ref<Preamble>& preamble) { preamble_ = preamble; }

  // -- packets that are with the workers --------------------------------------------------------
  // The strand: so many are on their way there.
  void jobs_added(uint32_t count);
  // Any thread: a worker is through with one, or nobody will do it.
  void job_ended();

  // -- files ------------------------------------------------------------------------------------
  // A file's lock may be held: it has too many writes pending; or not any more.
  void hold_reads() { flow_.full_files.fetch_add(1, std::memory_order_acq_rel); }
  void let_reads_go() { flow_.full_files.fetch_sub(1, std::memory_order_acq_rel); }
  // Under the lock.
  bool has_raw_file() const { return flow_.raw_file.load(std::memory_order_relaxed) != nullptr; }
  void set_raw_file(const Ref<ReceiveFile>& file) {
    flow_.raw_file.store(Ref<ReceiveFile>(file).detach(), std::memory_order_release);
  }

  // -- the end ----------------------------------------------------------------------------------
  // Under the lock, while no thread is in the strand.
  bool has_reads_locked() const { return outstanding_ != 0; }
  // With the last count. Returns the bytes of an unfinished packet.
  size_t finish();

  // When something came last, on the clock of IoContext::watch_ms(); before that some earlier time.
  std::atomic<uint32_t>* last_read_ms() { return &last_arrival_ms_; }
  // With the last count: the peer was too fast, and that is to be a ban.
  bool bans_peer() const { return rates_ != nullptr && rates_->bans(); }
  // Something whole has come: a packet, whatever became of it, the head of one that is streamed, bytes of a file.
  bool had_packet() const { return had_packet_.load(std::memory_order_relaxed); }
  uint64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }
  uint64_t packets_read() const { return packets_read_.load(std::memory_order_relaxed); }

  static void on_read_complete(Operation* self, uint32_t error, uint32_t bytes);

 private:
  struct ReadItem {
    ReadOperation* operation = nullptr;
    uint32_t bytes = 0;
    uint32_t error = 0;
  };
  // How the strand waits for the peer.
  enum class Wait : uint8_t {
    undecided,    // nothing has been read or waited for yet
    first_bytes,  // with a buffer, until the peer has said something
    idle,         // without a buffer
    busy,         // with buffers: packets come in quick succession
  };

  // receiver.cc
  void read_complete(ReadItem item);
  void strand();
  bool leave_strand();
  void yield();
  void take_item(ReadItem item);
  bool may_read_now() const;
  bool read_now();
  bool waits_with_buffer() const;
  bool post_reads();
  uint32_t post_read(bool zero_byte, bool* completed);
  void read_failed(uint32_t error, bool zero_byte);
  void on_peer_end();
  void received(PooledBuffer<SrwLock> buffer, uint32_t bytes);
  void note_received(uint32_t bytes, bool full);
  ReadOperation* free_read_operation();

  // receiver_mode.cc
  bool is_direct() const { return wait_ == Wait::first_bytes || wait_ == Wait::busy; }
  void note_arrival(uint32_t now);
  void choose_first_wait();
  void leave_direct_mode();
  void forget_reads();
  template <class F>
  void for_each_direct_read(F&& f);

  // receiver_limits.cc
  bool waits_for_rate();
  bool close_if_exceeded();
  void note_ended_packet();
  void note_decoded(bool ended);
  void note_reading();
  uint32_t rates_clock();

  // receiver_decode.cc
  bool take_preamble();
  void take_raw();
  void cut_raw_off();
  bool has_undecoded() const { return current_size_ != current_offset_ || frame_.whole(); }
  bool may_deliver() const;
  bool over_delivery_bound();
  void use(const Framing& framing, const SharedProfile& profile);
  bool decode_current();
  void consumed(uint32_t bytes);
  void protocol_error(FrameError error);
  void shrink_rest();

  Connection* const connection_;

  // Under the lock.
  bool running_ = false;         // a thread is in the strand
  bool run_again_ = false;       // somebody asked for a run meanwhile
  bool peer_end_waits_ = false;  // PEER_END comes when the jobs of this connection have ended
  uint32_t jobs_ = 0;            // packets that are with the workers
  Sequencer<ReadItem> sequencer_;

  // The strand.
  const Framing* framing_;
  FrameState frame_;
  DecodeState decode_;
  Ref<Preamble> preamble_;  // until it is over
  // Bytes that have been read and not yet decoded: in the buffer that they were read into or, when they
  // have to wait, in a block of their size.
  const uint8_t* current_data_ = nullptr;
  PooledBuffer<SrwLock> current_;
  std::unique_ptr<uint8_t[]> rest_;
  uint32_t current_offset_ = 0;
  uint32_t current_size_ = 0;
  uint32_t outstanding_ = 0;               // reads posted and not yet taken
  std::unique_ptr<ReceiveRates> rates_;    // made when there are limits
  std::atomic<uint32_t> last_arrival_ms_;  // written by the strand
  uint8_t quick_arrivals_ = 0;             // in a row
  uint8_t retries_ = 0;
  Wait wait_ = Wait::undecided;
  bool readable_ = false;              // there may be something to read without waiting
  bool received_since_defer_ = false;  // something came since a read was last deferred
  bool speculative_read_ = false;      // the last wait without a buffer was over at once
  bool non_blocking_ = false;          // the socket is
  bool eof_ = false;
  ReadOperation read_;
  std::unique_ptr<std::unique_ptr<ReadOperation>[]> more_reads_;  // made when several reads are due

  // Any thread.
  ReceiveFlow flow_;
  std::atomic<bool> parked_{false};      // named in the delivery queue's list of those that wait
  std::atomic<bool> mode_check_{false};  // the strand shall see whether it is still busy
  std::atomic<bool> deferred_{false};    // in the list of a thread's deferred reads
  std::atomic<bool> had_packet_{false};  // written by the strand
  std::atomic<uint64_t> bytes_read_{0};
  std::atomic<uint64_t> packets_read_{0};
};

}  // namespace iocp
