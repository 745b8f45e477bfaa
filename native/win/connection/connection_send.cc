// The sending strand: one write in the kernel at a time, the next gathers behind it.
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
// Writes that succeed at once and skip the port: after so many the thread turns to other connections.
constexpr uint32_t kMaxInlineWrites = 16;
constexpr uint8_t kMaxRetries = 6;
// Above the cap of the send queue, for what ends tell each other about files.
constexpr uint64_t kControlReserve = 1024 * 1024;

}  // namespace

// The facade refuses what it can; what native code cannot frame must not go out bare.
Connection::PushResult Connection::push(ByteSpan payload, SendOwner* owner, uint32_t token, ReadyList* ready) {
  Push push{payload, owner, token};
  {
    // With the lock, under which the framing stays what it is.
    std::lock_guard<SrwLock> guard(lock_);
    FrameEnvelope envelope;
    if (send_framing()->wrap(payload.data, payload.size, &envelope)) {
      push_locked({envelope.header, envelope.header_size}, {envelope.trailer, envelope.trailer_size}, &push);
    } else {
      push.result = PushResult::unframeable;
    }
  }
  return after_push(&push, ready);
}

Connection::PushResult Connection::push_encoded(const Framing* framing, ByteSpan bytes, SendOwner* owner,
                                                uint32_t token, ReadyList* ready) {
  Push push{bytes, owner, token};
  {
    std::lock_guard<SrwLock> guard(lock_);
    // Another thread has changed it: what is encoded for the old one must not stand behind the new.
    if (framing != send_framing()) return PushResult::reframe;
    push_locked({nullptr, 0}, {nullptr, 0}, &push);
  }
  return after_push(&push, ready);
}

void Connection::push_locked(ByteSpan header, ByteSpan trailer, Push* push) {
  const ByteSpan payload = push->payload;
  if (!socket_.is_closing() && !end_requested_) {
    push->result = make_room_locked(header.size + payload.size + trailer.size, &push->dropped);
  }
  if (push->result != PushResult::accepted) return;
  if (push->owner != nullptr) {
    send_.push_owned(header, payload, trailer, std::exchange(push->owner, nullptr), push->token);
  } else {
    send_.push_copy(header, payload, trailer, push->token);
  }
  if (sending_ || send_waits_) return;
  push->schedule = request_locked(kSend);
}

bool Connection::push_transfer(const Framing* framing, const TransferFrame& frame) {
  uint8_t bytes[kTransferMaxControl];
  const size_t size = encode_transfer(frame, bytes, sizeof(bytes));
  return size != 0 && push_packet(framing, {bytes, size}, nullptr);
}

bool Connection::push_control(ByteSpan packet, uint32_t before) { return push_packet(send_framing(), packet, &before); }

bool Connection::push_packet(const Framing* framing, ByteSpan packet, const uint32_t* before) {
  FrameEnvelope envelope;
  if (!framing->encode(packet.size, &envelope)) return false;
  bool schedule = false;
  bool overflow = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing() || shut_down_) return false;
    // Answers are not dropped; a peer that asks for them and takes none must not fill the memory.
    overflow = send_.totals().bytes > profile_->hard_cap + kControlReserve;
    if (!overflow) {
      const ByteSpan header{envelope.header, envelope.header_size};
      const ByteSpan trailer{envelope.trailer, envelope.trailer_size};
      const SendFile* const held = before == nullptr || files_ == nullptr ? nullptr : files_->find_held_locked(*before);
      if (held == nullptr || !send_.push_before(held, header, packet, trailer)) {
        send_.push_lasting(header, packet, trailer);
      }
      schedule = !sending_ && request_locked(kSend);
    }
  }
  if (overflow) {
    close(CloseCause::overflow, 0, true);
    return false;
  }
  if (schedule) engine_->schedule(Ref<Connection>(this));
  return true;
}

void Connection::hold_end(bool on) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    end_held_ = on;
  }
  if (!on) request(kSend);  // our FIN may have waited for it
}

// Without the lock.
Connection::PushResult Connection::after_push(Push* push, ReadyList* ready) {
  const PushResult result = push->result;
  if (push->schedule) ready->emplace_back(this);
  if (push->owner != nullptr) push->owner->release();
  if (result == PushResult::dropped) {
    ++push->dropped.packets;
    push->dropped.bytes += push->payload.size;
  }
  if (push->dropped.packets != 0) note_dropped(push->dropped);
  if (result == PushResult::unframeable) report_lost(push->payload.size, SendOutcome::unframeable);
  if (result != PushResult::accepted && push->token != 0) {
    const bool is_dropped = result == PushResult::dropped || result == PushResult::unframeable;
    engine_->report_sent(id_, push->token, is_dropped ? SendOutcome::dropped : SendOutcome::closed);
  }
  if (result == PushResult::overflow) close(CloseCause::overflow, 0, true);
  return result;
}

// What the overflow policy says about one more packet of `size` bytes. With `queue` the mark is the
// cap, with the others it is the high-water mark, which one packet on an empty queue may pass. The cap
// is never passed.
Connection::PushResult Connection::make_room_locked(uint64_t size, SendQueue::Finished* dropped) {
  const OverflowPolicy policy = profile_->on_overflow;
  const uint64_t mark = policy == OverflowPolicy::queue ? profile_->hard_cap : profile_->high_water;
  const auto fits = [&] {
    const SendQueue::Totals totals = send_.totals();
    if (totals.packets >= profile_->hard_cap_packets) return false;
    return totals.bytes + size <= (totals.packets == 0 ? profile_->hard_cap : mark);
  };
  if (fits()) return PushResult::accepted;
  if (policy == OverflowPolicy::close) return PushResult::overflow;
  if (policy == OverflowPolicy::drop_oldest && size <= profile_->hard_cap) {
    const SendQueue::Totals totals = send_.totals();
    const uint64_t over = totals.bytes + size > mark ? totals.bytes + size - mark : 0;
    send_.drop_oldest(over, totals.packets >= profile_->hard_cap_packets ? 1u : 0u, dropped);
    // What is in flight cannot be dropped; the newest goes behind it as long as the cap allows.
    const SendQueue::Totals left = send_.totals();
    if (left.bytes + size <= profile_->hard_cap && left.packets < profile_->hard_cap_packets) {
      return PushResult::accepted;
    }
  }
  return PushResult::dropped;
}

// With drop-oldest a write takes only a part of what may wait, so that there are older packets to drop.
size_t Connection::max_write() const {
  if (profile_->on_overflow != OverflowPolicy::drop_oldest) return kMaxWrite;
  return static_cast<size_t>((std::max)(uint64_t{1}, (std::min)(uint64_t{kMaxWrite}, profile_->high_water / 2)));
}

SendQueue::Totals Connection::queued() {
  std::lock_guard<SrwLock> guard(lock_);
  return send_.totals();
}

void Connection::run_send() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (sending_ || send_waits_ || !socket_.enter()) return;
    sending_ = true;
  }
  send_strand();
}

// Entered as the sending strand, with a count on the connection and as a user of the socket.
void Connection::send_strand() {
  for (uint32_t round = 0;; ++round) {
    ByteSpan spans[kMaxSpans];
    SendFile::Piece piece;
    size_t count = 0;
    bool file = false;
    bool end_of_stream = false;
    bool yield = false;
    {
      std::lock_guard<SrwLock> guard(lock_);
      if (!socket_.is_closing() && round == kMaxInlineWrites && !send_.empty()) {
        sending_ = false;
        yield = true;
      } else if (!socket_.is_closing()) {
        if (SendOwner* item = send_.front_item()) {
          // Only files are items. One that has nothing ready asks for a turn when it has.
          auto* const next = static_cast<SendFile*>(item);
          file = next->begin_piece(&piece);
          if (file) {
            send_.begin_item();
            written_file_ = next;
          }
        } else if (!send_.empty()) {
          count = send_.gather(spans, kMaxSpans, max_write());
        }
        if (count == 0 && !file) {
          sending_ = false;
          end_of_stream = end_requested_ && !shut_down_ && send_.empty() && !end_held_;
          shut_down_ = shut_down_ || end_of_stream;
        }
      }
    }
    if (yield) {
      request(kSend);
      return leave();
    }
    if (count == 0 && !file) {
      if (end_of_stream) send_end();
      return leave();
    }

    Ref<Connection> of_write(this);  // its packet, which gives it back, may be handled before the call returns
    DWORD bytes = 0;
    engine_->count(Counter::send_calls, 1);
    const uint32_t error = issue_write(spans, count, piece, &bytes);
    if (error == WSA_IO_PENDING || (error == 0 && !engine_->skips_on_success())) {
      (void)of_write.detach();
      return leave();
    }
    of_write = nullptr;  // no packet will come
    if (error != 0) {
      write_failed(error);
      return leave();
    }
    SendQueue::Finished finished;
    Ref<SendFile> written;
    {
      std::lock_guard<SrwLock> guard(lock_);
      written = complete_write_locked(bytes, true, &finished);
    }
    after_write(bytes, finished);
    if (written) written->advance();
  }
}

// `count` spans from memory, or else a piece of a file.
uint32_t Connection::issue_write(const ByteSpan* spans, size_t count, const SendFile::Piece& piece, DWORD* bytes) {
  if (piece.file_size != 0) return files_->transmit(piece, bytes);
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
  return calls::send(socket_.get(), buffers, used, bytes, write_.prepare());
}

// The file that has been written from, if it was one; the caller has to advance it when the lock is no longer held.
Ref<SendFile> Connection::complete_write_locked(uint32_t bytes, bool written, SendQueue::Finished* finished) {
  Ref<SendFile> file(std::exchange(written_file_, nullptr));
  if (!file) {
    if (written) {
      send_.complete(bytes, finished);
    } else {
      send_.give_up();
    }
    return nullptr;
  }
  if (SendOwner* item = send_.end_item(file->end_piece(bytes, written))) item->release();  // the queue's count
  return file;
}

void Connection::on_send_complete(Operation* self, uint32_t error, uint32_t bytes) {
  static_cast<SendOperation*>(self)->connection->write_complete(error, bytes);
}

// The write's packet has come, with its count.
void Connection::write_complete(uint32_t error, uint32_t bytes) {
  const Ref<Connection> of_write = Ref<Connection>::adopt(this);
  SendQueue::Finished finished;
  Ref<SendFile> written;
  bool run = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    calls::check(sending_);  // no packet comes for a call that has failed at once
    written = complete_write_locked(bytes, error == 0, &finished);
    run = error == 0 && socket_.enter();
  }
  if (error == 0) {
    after_write(bytes, finished);
  } else if (written) {
    // How much of the file has gone nobody knows, so there is no second try; not even of one that has become shorter.
    fail(error);
  } else {
    write_failed(error);
  }
  if (written && error == 0) written->advance();
  written = nullptr;
  if (run) send_strand();
}

// What was written is reported; the queue may have fallen to the low-water mark.
void Connection::after_write(uint32_t bytes, const SendQueue::Finished& finished) {
  uint64_t queued = 0;
  bool drained = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    send_retries_ = 0;
    queued = send_.totals().bytes;
    drained = drain_wanted_ && queued <= profile_->low_water && !socket_.is_closing();
    if (drained) drain_wanted_ = false;
  }
  bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  packets_written_.fetch_add(finished.packets, std::memory_order_relaxed);
  engine_->count(Counter::bytes_out, bytes);
  engine_->count(Counter::packets_out, finished.packets);
  report_finished(finished, SendOutcome::sent);
  if (drained) report_drain(queued);
}

void Connection::want_drain() {
  uint64_t queued = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing()) return;
    queued = send_.totals().bytes;
    drain_wanted_ = queued > profile_->low_water;
    if (drain_wanted_) return;
  }
  report_drain(queued);
}

void Connection::report_drain(uint64_t queued) {
  engine_->report(RecordKind::drain, id_, static_cast<uint32_t>((std::min)(queued, uint64_t{UINT32_MAX})));
}

// The sending strand is over after this, unless a retry is due.
void Connection::write_failed(uint32_t error) {
  bool retry = false;
  bool arm = false;
  uint32_t delay_ms = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    (void)complete_write_locked(0, false, nullptr);
    sending_ = false;
    retry = is_resource_shortage(error) && send_retries_ < kMaxRetries && !socket_.is_closing();
    if (retry) {
      delay_ms = 10u << ++send_retries_;
      arm = wait_locked(&send_waits_);
    }
  }
  if (arm) engine_->arm(rare_timers().retry, delay_ms);
  if (retry) return engine_->count(Counter::enobufs, 1);
  fail(error);
}

// Everything that was queued has gone: our FIN follows.
void Connection::send_end() {
  const uint32_t error = calls::shutdown_send(socket_.get());
  if (error != 0) return fail(error);
  bool both = false;
  CloseCause cause = CloseCause::local;
  {
    std::lock_guard<SrwLock> guard(lock_);
    both = peer_ended_;
    cause = end_cause_;
  }
  if (both) close(cause, 0, false);
}

// A call or an operation on an open connection failed for good.
void Connection::fail(uint32_t error) {
  const uint32_t code = established_connection_error(error, false);
  CloseCause cause = CloseCause::io_error;
  if (code == kWsaEconnreset || code == kWsaEconnaborted) cause = CloseCause::peer_reset;
  // WSAENETRESET: keep-alive has had no answer.
  if (code == kWsaEtimedout || code == WSAENETRESET) cause = CloseCause::timeout;
  close(cause, code, true);
}

void Connection::report_finished(const SendQueue::Finished& finished, SendOutcome outcome) {
  for (const uint32_t token : finished.tokens) engine_->report_sent(id_, token, outcome);
}

// Summed up until an I/O thread serves the connection: a flood of drops is one record per turn.
void Connection::note_dropped(const SendQueue::Finished& dropped) {
  engine_->count(Counter::drops, dropped.packets);
  engine_->count(Counter::dropped_bytes, dropped.bytes);
  {
    std::lock_guard<SrwLock> guard(lock_);
    dropped_packets_ += dropped.packets;
    dropped_bytes_ += dropped.bytes;
  }
  report_finished(dropped, SendOutcome::dropped);
  request(kDropped);
}

void Connection::report_lost(uint64_t bytes, SendOutcome why) {
  const auto size = static_cast<uint32_t>((std::min)(bytes, uint64_t{UINT32_MAX}));
  engine_->count(Counter::drops, 1);
  engine_->count(Counter::dropped_bytes, size);
  engine_->report(RecordKind::dropped, id_, 1, size, static_cast<uint32_t>(why));
}

void Connection::report_dropped() {
  uint32_t packets = 0;
  uint64_t bytes = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    packets = std::exchange(dropped_packets_, 0);
    bytes = std::exchange(dropped_bytes_, 0);
  }
  if (packets == 0) return;
  engine_->report(RecordKind::dropped, id_, packets, static_cast<uint32_t>((std::min)(bytes, uint64_t{UINT32_MAX})));
}

}  // namespace iocp
