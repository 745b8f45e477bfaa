// The sending strand: one write in the kernel at a time, the next gathers behind it.
#include "win/connection/sender.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/connection/connection.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

constexpr size_t kMaxSpans = 64;
constexpr size_t kMaxWrite = 256 * 1024;
constexpr size_t kMaxWatchedWrite = 64 * 1024;
// Writes that succeed at once and skip the port: after so many the thread turns to other connections.
constexpr uint32_t kMaxInlineWrites = 16;
constexpr uint8_t kMaxRetries = 6;
// Above the cap of the send queue, for what ends tell each other about files.
constexpr uint64_t kControlReserve = 1024 * 1024;

}  // namespace

SendOperation::SendOperation(Connection* owner) : Operation(&Sender::on_send_complete), connection(owner) {}

Sender::Sender(Connection* connection, const SharedProfile& profile)
    : connection_(connection), framing_(profile.send.get()), write_(connection) {}

// The facade refuses what it can; what native code cannot frame must not go out bare.
Sender::PushResult Sender::push(ByteSpan payload, SendBuffer* owner, uint32_t token, ReadyList* ready) {
  Push push{payload, owner, token};
  {
    // With the lock, under which the framing stays what it is.
    std::lock_guard<SrwLock> guard(connection_->lock());
    FrameEnvelope envelope;
    if (framing()->wrap(payload.data, payload.size, &envelope)) {
      push_locked({envelope.header, envelope.header_size}, {envelope.trailer, envelope.trailer_size}, &push);
    } else {
      push.result = PushResult::unframeable;
    }
  }
  return after_push(&push, ready);
}

Sender::PushResult Sender::push_encoded(const Framing* framing, ByteSpan bytes, SendBuffer* owner, uint32_t token,
                                        ReadyList* ready) {
  Push push{bytes, owner, token};
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    // Another thread has changed it: what is encoded for the old one must not stand behind the new.
    if (framing != this->framing()) return PushResult::reframe;
    push_locked({nullptr, 0}, {nullptr, 0}, &push);
  }
  return after_push(&push, ready);
}

void Sender::push_locked(ByteSpan header, ByteSpan trailer, Push* push) {
  const ByteSpan payload = push->payload;
  if (!connection_->is_closing_locked() && !connection_->end_locked().requested) {
    push->result = make_room_locked(header.size + payload.size + trailer.size, &push->dropped);
  }
  if (push->result != PushResult::accepted) return;
  if (push->owner != nullptr) {
    queue_.push_owned(header, payload, trailer, std::exchange(push->owner, nullptr), push->token);
  } else {
    queue_.push_copy(header, payload, trailer, push->token);
  }
  if (sending_ || connection_->is_held_back_locked(Connection::Strand::sending)) return;
  push->schedule = connection_->request_locked(Connection::kSend);
}

bool Sender::push_transfer(const Framing* framing, const TransferFrame& frame) {
  uint8_t bytes[kTransferMaxControl];
  const size_t size = encode_transfer(frame, bytes, sizeof(bytes));
  return size != 0 && push_packet(framing, {bytes, size}, nullptr);
}

bool Sender::push_control(ByteSpan packet, uint32_t before) { return push_packet(framing(), packet, &before); }

bool Sender::push_packet(const Framing* framing, ByteSpan packet, const uint32_t* before) {
  FrameEnvelope envelope;
  if (!framing->encode(packet.size, &envelope)) return false;
  bool schedule = false;
  bool overflow = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (connection_->is_over_locked()) return false;
    // Answers are not dropped; a peer that asks for them and takes none must not fill the memory.
    overflow = queue_.totals().bytes > connection_->profile().hard_cap + kControlReserve;
    if (!overflow) {
      const ByteSpan header{envelope.header, envelope.header_size};
      const ByteSpan trailer{envelope.trailer, envelope.trailer_size};
      const SendFile* const held = before == nullptr ? nullptr : connection_->find_held_file_locked(*before);
      if (held == nullptr || !queue_.push_before(held, header, packet, trailer)) {
        queue_.push_lasting(header, packet, trailer);
      }
      schedule = !sending_ && connection_->request_locked(Connection::kSend);
    }
  }
  if (overflow) {
    connection_->close(CloseCause::overflow, 0, true);
    return false;
  }
  if (schedule) connection_->schedule();
  return true;
}

// Without the lock.
Sender::PushResult Sender::after_push(Push* push, ReadyList* ready) {
  const PushResult result = push->result;
  if (push->schedule) ready->emplace_back(connection_);
  if (push->owner != nullptr) push->owner->release();
  if (result == PushResult::dropped) {
    ++push->dropped.packets;
    push->dropped.bytes += push->payload.size;
  }
  if (push->dropped.packets != 0) note_dropped(push->dropped);
  if (result == PushResult::unframeable) report_lost(push->payload.size, SendOutcome::unframeable);
  if (result != PushResult::accepted && push->token != 0) {
    const bool is_dropped = result == PushResult::dropped || result == PushResult::unframeable;
    connection_->engine()->report_sent(connection_->id(), push->token,
                                       is_dropped ? SendOutcome::dropped : SendOutcome::closed);
  }
  if (result == PushResult::overflow) connection_->close(CloseCause::overflow, 0, true);
  return result;
}

// What the overflow policy says about one more packet of `size` bytes. With `queue` the mark is the
// cap, with the others it is the high-water mark, which one packet on an empty queue may pass. The cap
// is never passed.
Sender::PushResult Sender::make_room_locked(uint64_t size, SendQueue::Finished* dropped) {
  const OverflowPolicy policy = connection_->profile().on_overflow;
  const uint64_t mark =
      policy == OverflowPolicy::queue ? connection_->profile().hard_cap : connection_->profile().high_water;
  const auto fits = [&] {
    const SendQueue::Totals totals = queue_.totals();
    if (totals.packets >= connection_->profile().hard_cap_packets) return false;
    return totals.bytes + size <= (totals.packets == 0 ? connection_->profile().hard_cap : mark);
  };
  if (fits()) return PushResult::accepted;
  if (policy == OverflowPolicy::close) return PushResult::overflow;
  if (policy == OverflowPolicy::drop_oldest && size <= connection_->profile().hard_cap) {
    const SendQueue::Totals totals = queue_.totals();
    const uint64_t over = totals.bytes + size > mark ? totals.bytes + size - mark : 0;
    queue_.drop_oldest(over, totals.packets >= connection_->profile().hard_cap_packets ? 1u : 0u, dropped);
    // What is in flight cannot be dropped; the newest goes behind it as long as the cap allows.
    const SendQueue::Totals left = queue_.totals();
    if (left.bytes + size <= connection_->profile().hard_cap &&
        left.packets < connection_->profile().hard_cap_packets) {
      return PushResult::accepted;
    }
  }
  return PushResult::dropped;
}

// With drop-oldest a write takes only a part of what may wait, so that there are older packets to drop.
size_t Sender::max_write() const {
  // That a peer takes something is seen when a write has been taken whole.
  const TimeWatch* const watch = connection_->watch();
  const size_t most = watch != nullptr && watch->limits_writes() ? kMaxWatchedWrite : kMaxWrite;
  if (connection_->profile().on_overflow != OverflowPolicy::drop_oldest) return most;
  return static_cast<size_t>(
      (std::max)(uint64_t{1}, (std::min)(uint64_t{most}, connection_->profile().high_water / 2)));
}

SendQueue::Totals Sender::queued() {
  std::lock_guard<SrwLock> guard(connection_->lock());
  return finished_ ? SendQueue::Totals{0, 0} : queue_.totals();
}

void Sender::run() {
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (sending_ || connection_->is_held_back_locked(Connection::Strand::sending) || !connection_->socket().enter())
      return;
    sending_ = true;
  }
  strand();
}

// Entered as the sending strand, with a count on the connection and as a user of the socket.
void Sender::strand() {
  for (uint32_t round = 0;; ++round) {
    ByteSpan spans[kMaxSpans];
    SendFile::Piece piece;
    size_t count = 0;
    bool file = false;
    bool end_of_stream = false;
    bool yield = false;
    {
      std::lock_guard<SrwLock> guard(connection_->lock());
      if (!connection_->is_closing_locked() && round == kMaxInlineWrites && !queue_.empty()) {
        sending_ = false;
        yield = true;
      } else if (!connection_->is_closing_locked()) {
        if (SendBuffer* item = queue_.front_item()) {
          // Only files are items. One that has nothing ready asks for a turn when it has.
          auto* const next = static_cast<SendFile*>(item);
          file = next->begin_piece(&piece);
          if (file) {
            queue_.begin_item();
            written_file_ = next;
          }
        } else if (!queue_.empty()) {
          count = queue_.gather(spans, kMaxSpans, max_write());
        }
        if (count == 0 && !file) {
          sending_ = false;
          Connection::End& end = connection_->end_locked();
          end_of_stream = end.requested && !end.shut_down && queue_.empty() && !end.held;
          end.shut_down = end.shut_down || end_of_stream;
        }
      } else {
        sending_ = false;  // nothing is in the kernel, so the socket need not wait for anything
      }
    }
    if (yield) {
      connection_->request(Connection::kSend);
      return connection_->leave();
    }
    if (count == 0 && !file) {
      if (end_of_stream) send_end();
      return connection_->leave();
    }

    if (connection_->watch() != nullptr) note_write_begins();
    Ref<Connection> of_write(connection_);  // its packet, which gives it back, may be handled before the call returns
    DWORD bytes = 0;
    connection_->engine()->count(Counter::send_calls, 1);
    const uint32_t error = issue_write(spans, count, piece, &bytes);
    if (error == WSA_IO_PENDING || (error == 0 && !connection_->engine()->skips_on_success())) {
      (void)of_write.detach();
      return connection_->leave();
    }
    of_write = nullptr;  // no packet will come
    if (error != 0) {
      write_failed(error);
      return connection_->leave();
    }
    SendQueue::Finished finished;
    Ref<SendFile> written;
    {
      std::lock_guard<SrwLock> guard(connection_->lock());
      written = complete_write_locked(bytes, true, &finished);
    }
    after_write(bytes, finished);
    if (written) written->advance();
  }
}

// Before the call: its packet may be handled before it returns.
void Sender::note_write_begins() {
  TimeWatch* const watch = connection_->watch();
  watch->write_begins(connection_->engine()->watch_ms());
  if (!watch->limits_writes()) return;
  const uint32_t limit = connection_->time_limits().send_stall;
  if (limit != 0) connection_->check_times_in(limit);
}

// `count` spans from memory, or else a piece of a file.
uint32_t Sender::issue_write(const ByteSpan* spans, size_t count, const SendFile::Piece& piece, DWORD* bytes) {
  if (piece.file_size != 0) return connection_->files_if_any()->transmit(piece, bytes);
  WSABUF buffers[kMaxSpans];
  DWORD used = 0;
  const auto add = [&](ByteSpan span) {
    if (span.size == 0 && count == 0) return;
    buffers[used].buf = reinterpret_cast<char*>(const_cast<uint8_t*>(span.data));
    buffers[used++].len = static_cast<ULONG>(span.size);
  };
  for (size_t i = 0; i < count; ++i) add(spans[i]);
  if (count == 0) {
    add(piece.head);
    add(piece.data);
  }
  return calls::send(connection_->engine()->port(), connection_->socket().get(), buffers, used, bytes,
                     write_.prepare());
}

// The file that has been written from, if it was one; the caller has to advance it when the lock is no longer held.
Ref<SendFile> Sender::complete_write_locked(uint32_t bytes, bool written, SendQueue::Finished* finished) {
  if (TimeWatch* watch = connection_->watch()) watch->write_ended(connection_->engine()->watch_ms(), written);
  Ref<SendFile> file(std::exchange(written_file_, nullptr));
  if (!file) {
    if (written) {
      queue_.complete(bytes, finished);
    } else {
      queue_.give_up();
    }
    return nullptr;
  }
  if (SendBuffer* item = queue_.end_item(file->end_piece(bytes, written))) item->release();  // the queue's count
  return file;
}

void Sender::on_send_complete(Operation* self, uint32_t error, uint32_t bytes) {
  static_cast<SendOperation*>(self)->connection->sender().write_complete(error, bytes);
}

// The write's packet has come, with its count.
void Sender::write_complete(uint32_t error, uint32_t bytes) {
  const Ref<Connection> of_write = Ref<Connection>::adopt(connection_);
  SendQueue::Finished finished;
  Ref<SendFile> written;
  bool run = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    calls::check(sending_);  // no packet comes for a call that has failed at once
    written = complete_write_locked(bytes, error == 0, &finished);
    run = error == 0 && connection_->socket().enter();
    if (error == 0 && !run) sending_ = false;
  }
  if (error == 0) {
    after_write(bytes, finished);
  } else if (written) {
    // How much of the file has gone nobody knows, so there is no second try; not even of one that has become shorter.
    connection_->fail(error);
  } else {
    write_failed(error);
  }
  if (written && error == 0) written->advance();
  written = nullptr;
  if (run) strand();
}

// What was written is reported; the queue may have fallen to the low-water mark.
void Sender::after_write(uint32_t bytes, const SendQueue::Finished& finished) {
  uint64_t queued = 0;
  bool drained = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    retries_ = 0;
    queued = queue_.totals().bytes;
    drained = drain_wanted_ && queued <= connection_->profile().low_water && !connection_->is_closing_locked();
    if (drained) drain_wanted_ = false;
  }
  bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  packets_written_.fetch_add(finished.packets, std::memory_order_relaxed);
  connection_->engine()->count(Counter::bytes_out, bytes);
  connection_->engine()->count(Counter::packets_out, finished.packets);
  report_finished(finished, SendOutcome::sent);
  if (drained) report_drain(queued);
}

void Sender::want_drain() {
  uint64_t queued = 0;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (connection_->is_closing_locked()) return;
    queued = queue_.totals().bytes;
    drain_wanted_ = queued > connection_->profile().low_water;
    if (drain_wanted_) return;
  }
  report_drain(queued);
}

void Sender::report_drain(uint64_t queued) {
  connection_->engine()->report(RecordKind::drain, connection_->id(),
                                static_cast<uint32_t>((std::min)(queued, uint64_t{UINT32_MAX})));
}

// The sending strand is over after this, unless a retry is due.
void Sender::write_failed(uint32_t error) {
  bool retry = false;
  bool arm = false;
  uint32_t delay_ms = 0;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    (void)complete_write_locked(0, false, nullptr);
    sending_ = false;
    retry = is_resource_shortage(error) && retries_ < kMaxRetries && !connection_->is_closing_locked();
    if (retry) {
      delay_ms = 10u << ++retries_;
      arm = connection_->hold_back_locked(Connection::Strand::sending);
    }
  }
  if (arm) connection_->arm_retry(delay_ms);
  if (retry) return connection_->engine()->count(Counter::enobufs, 1);
  connection_->fail(error);
}

// Everything that was queued has gone: our FIN follows.
void Sender::send_end() {
  const uint32_t error = calls::shutdown_send(connection_->socket().get());
  if (error != 0) return connection_->fail(error);
  bool both = false;
  CloseCause cause = CloseCause::local;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    both = connection_->end_locked().peer_ended;
    cause = connection_->end_locked().cause;
  }
  if (both) connection_->close(cause, 0, false);
}

void Sender::finish() {
  {
    // Whoever sums up all connections finds this one until the engine has removed it.
    std::lock_guard<SrwLock> guard(connection_->lock());
    finished_ = true;
  }
  SendQueue::Finished unsent;
  queue_.give_up();  // a write that failed leaves its packets behind
  queue_.clear(&unsent);
  report_finished(unsent, SendOutcome::closed);
  report_dropped();
}

void Sender::report_finished(const SendQueue::Finished& finished, SendOutcome outcome) {
  for (const uint32_t token : finished.tokens) connection_->engine()->report_sent(connection_->id(), token, outcome);
}

// Summed up until an I/O thread serves the connection: a flood of drops is one record per turn.
void Sender::note_dropped(const SendQueue::Finished& dropped) {
  connection_->engine()->count(Counter::drops, dropped.packets);
  connection_->engine()->count(Counter::dropped_bytes, dropped.bytes);
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    dropped_packets_ += dropped.packets;
    dropped_bytes_ += dropped.bytes;
  }
  report_finished(dropped, SendOutcome::dropped);
  connection_->request(Connection::kDropped);
}

void Sender::report_lost(uint64_t bytes, SendOutcome why) {
  const auto size = static_cast<uint32_t>((std::min)(bytes, uint64_t{UINT32_MAX}));
  connection_->engine()->count(Counter::drops, 1);
  connection_->engine()->count(Counter::dropped_bytes, size);
  connection_->engine()->report(RecordKind::dropped, connection_->id(), 1, size, static_cast<uint32_t>(why));
}

void Sender::report_dropped() {
  uint32_t packets = 0;
  uint64_t bytes = 0;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    packets = std::exchange(dropped_packets_, 0);
    bytes = std::exchange(dropped_bytes_, 0);
  }
  if (packets == 0) return;
  connection_->engine()->report(RecordKind::dropped, connection_->id(), packets,
                                static_cast<uint32_t>((std::min)(bytes, uint64_t{UINT32_MAX})));
}

}  // namespace iocp
