#pragma once
// The sending half of a connection: its queue, and a strand that writes. One write is in the kernel at a time, the next
// gathers behind it.
//
// By value in its connection, whose lock it uses and whose counts keep it.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/ref.h"
#include "core/send_queue.h"
#include "core/transfer_protocol.h"
#include "win/files/send_file.h"
#include "win/io/profile.h"
#include "win/sys/operation.h"
#include "win/sys/win.h"

namespace iocp {

class Connection;
using ReadyList = std::vector<Ref<Connection>>;

struct SendOperation final : Operation {
  explicit SendOperation(Connection* owner);
  Connection* const connection;
};

class Sender final {
 public:
  Sender(Connection* connection, const SharedProfile& profile);
  Sender(const Sender&) = delete;
  Sender& operator=(const Sender&) = delete;

  // -- any JavaScript thread --------------------------------------------------------------------
  enum class PushResult { accepted, dropped, unframeable, closed, overflow, reframe };
  // Copies the payload, or with `owner` takes one count of what keeps it in place. A connection that
  // an I/O thread has to serve now is added to `ready`: Engine::schedule_all() it when
  // everything has been pushed, so that the packets of one submission leave in one write.
  PushResult push(ByteSpan payload, SendBuffer* owner, uint32_t token, ReadyList* ready);
  // The same for bytes that stand as `framing` wants them on the wire. PushResult::reframe, and nothing
  // has happened, when that is not the connection's framing any more.
  PushResult push_encoded(const Framing* framing, ByteSpan bytes, SendBuffer* owner, uint32_t token, ReadyList* ready);
  // To compare with; it may be gone a moment later. On the engine's own JavaScript thread, which alone changes it, it
  // stays until that does.
  const Framing* framing() const { return framing_.load(std::memory_order_acquire); }
  void set_framing_locked(const Framing* framing) { framing_.store(framing, std::memory_order_release); }
  SendQueue::Totals queued();
  // One packet is gone for another reason than the overflow policy.
  void report_lost(uint64_t bytes, SendOutcome why);

  // -- the engine's JavaScript thread -----------------------------------------------------------
  // One DRAIN record as soon as the queue is at the low-water mark, at once if it is already.
  void want_drain();

  // -- about files ------------------------------------------------------------------------------
  // Queued behind what is there, whatever the overflow policy says: there are few, and none may be lost.
  bool push_transfer(const Framing* framing, const TransferFrame& frame);
  // The same for a whole packet that is not one of the frames. It goes before the file with the number `before`, or
  // else before the first one that is held back: what that one keeps back is what was sent later, not what is said
  // about files.
  bool push_control(ByteSpan packet, uint32_t before);
  // Before anybody can find the connection.
  void push_preface(ByteSpan bytes) { queue_.push_preface(bytes); }
  // Under the lock: files are items of it.
  SendQueue& queue_locked() { return queue_; }

  // -- I/O threads ------------------------------------------------------------------------------
  // Writes, unless a write is under way, behind which it then goes on.
  void run();
  void report_dropped();
  // The packet of a write has come, with its count.
  void write_complete(uint32_t error, uint32_t bytes);
  // Under the lock: a thread is in the strand, or a write in the kernel.
  bool is_sending_locked() const { return sending_; }
  // Bytes are in the hands of the system, or about to be.
  bool writes_locked() const { return queue_.in_flight(); }
  // With the last count.
  void finish();

  uint64_t bytes_written() const { return bytes_written_.load(std::memory_order_relaxed); }
  uint64_t packets_written() const { return packets_written_.load(std::memory_order_relaxed); }

  static void on_send_complete(Operation* self, uint32_t error, uint32_t bytes);

 private:
  struct Push {
    ByteSpan payload;
    SendBuffer* owner;
    uint32_t token;
    PushResult result = PushResult::closed;
    bool schedule = false;
    SendQueue::Finished dropped{};
  };
  void push_locked(ByteSpan header, ByteSpan trailer, Push* push);
  PushResult after_push(Push* push, ReadyList* ready);
  PushResult make_room_locked(uint64_t size, SendQueue::Finished* dropped);
  bool push_packet(const Framing* framing, ByteSpan packet, const uint32_t* before);
  void strand();
  size_t max_write() const;
  void note_write_begins();
  uint32_t issue_write(const ByteSpan* spans, size_t count, const SendFile::Piece& piece, DWORD* bytes);
  Ref<SendFile> complete_write_locked(uint32_t bytes, bool written, SendQueue::Finished* finished);
  void after_write(uint32_t bytes, const SendQueue::Finished& finished);
  void write_failed(uint32_t error);
  void send_end();
  void report_finished(const SendQueue::Finished& finished, SendOutcome outcome);
  void report_drain(uint64_t queued);
  void note_dropped(const SendQueue::Finished& dropped);

  Connection* const connection_;
  std::atomic<const Framing*> framing_;  // written under the lock

  // Under the lock.
  bool sending_ = false;  // a thread is in the strand, or a write is in the kernel
  bool drain_wanted_ = false;
  bool finished_ = false;  // the queue is being given up, without the lock
  uint8_t retries_ = 0;
  uint32_t dropped_packets_ = 0;
  uint64_t dropped_bytes_ = 0;
  SendQueue queue_;
  SendFile* written_file_ = nullptr;  // whose piece is in the hands of the strand or the kernel

  SendOperation write_;
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> packets_written_{0};
};

}  // namespace iocp
