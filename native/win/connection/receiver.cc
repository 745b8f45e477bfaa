// The receiving strand: reads are posted, taken in the order of posting, decoded and delivered by one
// thread at a time, whichever I/O thread that is.
//
// Idle, a connection has one zero-byte read pending: no memory is locked for it. When that completes
// the bytes are fetched without waiting into a pooled buffer. For the first bytes and while packets come in
// quick succession (Wait::busy) the wait is a read with a buffer instead, which saves the second call.
//
// A connection that has just been fed does not wait for more at once: its next read is deferred until the
// thread has done what else there is. Often the peer has had its answer by then and has sent more, and a
// read that finds something costs a fraction of one that waits. Where that has come true, the next one is
// tried without asking first whether something is there (may_read_now).
#include "win/connection/receiver.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/connection/connection.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// Reads that are there at once: after so many, or so much, the thread turns to other connections.
constexpr uint32_t kMaxInlineRounds = 16;
constexpr uint64_t kMaxInlineBytes = 1024 * 1024;
constexpr uint8_t kMaxRetries = 6;
// Nothing has come yet: what comes first is not one of a quick succession.
constexpr uint32_t kLongAgoMs = 60'000;
// Of a packet that is gathered, by one call.
constexpr size_t kMaxRead = 1024 * 1024;

}  // namespace

ReadOperation::ReadOperation(Connection* owner) : Operation(&Receiver::on_read_complete), connection(owner) {}

Receiver::Receiver(Connection* connection, const SharedProfile& profile)
    : connection_(connection), sequencer_(profile.pending_reads), framing_(profile.receive.get()), read_(connection) {
  const uint32_t now = connection->engine()->watch_ms();
  last_arrival_ms_.store(now - kLongAgoMs, std::memory_order_relaxed);
  if (profile.packet_rate.count != 0 || profile.byte_rate.count != 0) {
    rates_ = std::make_unique<ReceiveRates>(profile, IoContext::coarse_ms());
  }
  use(*framing_, profile);
}

void Receiver::on_read_complete(Operation* self, uint32_t error, uint32_t bytes) {
  ReadOperation* operation = static_cast<ReadOperation*>(self);
  const Ref<Connection> connection = Ref<Connection>::adopt(operation->connection);
  connection->receiver().read_complete(ReadItem{operation, bytes, error});
}

void Receiver::read_complete(ReadItem item) {
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    sequencer_.store(item.operation->number, std::move(item));
    // A strand that is running will take it before it leaves.
    if (running_ || !connection_->socket().enter()) return;
    running_ = true;
  }
  strand();
}

void Receiver::run() {
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (running_) {
      run_again_ = true;
      return;
    }
    if (!connection_->socket().enter()) return;
    running_ = true;
  }
  strand();
}

void Receiver::run_deferred() {
  // A strand that still finds it set leaves after this: it will see the run that is asked for below.
  deferred_.store(false);
  run();
}

// Entered as the receiving strand, with a count on the connection and as a user of the socket.
void Receiver::strand() {
  uint32_t rounds = 0;
  const uint64_t most = bytes_read_.load(std::memory_order_relaxed) + kMaxInlineBytes;
  if (wait_ == Wait::undecided) choose_first_wait();
  for (;;) {
    bool stop = false;
    if (mode_check_.load(std::memory_order_relaxed) && mode_check_.exchange(false)) leave_direct_mode();
    if (eof_) cut_raw_off();
    if (rates_ != nullptr && close_if_exceeded()) {
      stop = true;
    } else if (rates_ != nullptr && waits_for_rate()) {
      stop = true;
    } else if (has_undecoded()) {
      stop = !may_deliver() || !decode_current();
    } else {
      ReadItem item;
      bool held_back = false;
      {
        std::lock_guard<SrwLock> guard(connection_->lock());
        held_back = connection_->is_closing_locked() || connection_->is_held_back_locked(Connection::Strand::receiving);
        // After the end of the stream the other reads only give their buffers back.
        if (!connection_->is_closing_locked() && (eof_ || may_deliver())) sequencer_.take(&item);
      }
      if (item.operation != nullptr) {
        take_item(item);
      } else if (held_back || eof_ || !may_deliver() || over_delivery_bound()) {
        stop = true;
      } else if (received_since_defer_ && !readable_ && outstanding_ == 0 &&
                 connection_->engine()->defer_read(connection_)) {
        received_since_defer_ = false;
        stop = true;
      } else if (++rounds > kMaxInlineRounds || bytes_read_.load(std::memory_order_relaxed) >= most) {
        return yield();
      } else {
        stop = may_read_now() ? !read_now() : !post_reads();
      }
    }
    if (!stop) continue;
    shrink_rest();
    if (connection_->watch() != nullptr || rates_ != nullptr) note_reading();
    if (leave_strand()) return;
  }
}

// Other connections have their turn; this one comes back through the list of those that are ready.
void Receiver::yield() {
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    running_ = false;
  }
  connection_->leave();
  connection_->request(Connection::kReceive);
}

// False when something came in meanwhile that this thread has to look at.
bool Receiver::leave_strand() {
  Connection::ToClose to_close;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (!connection_->is_closing_locked() && std::exchange(run_again_, false)) return false;
    const bool waits = rates_ != nullptr && rates_->waits();  // its timer is armed
    if (!connection_->is_closing_locked() && sequencer_.has_next() && !has_undecoded() && !waits &&
        (eof_ || (may_deliver() && !parked_.load(std::memory_order_acquire)))) {
      return false;
    }
    running_ = false;
    connection_->leave_locked(&to_close);
  }
  connection_->close_socket(std::move(to_close));
  return true;
}

// A read has completed, and it is its turn.
void Receiver::take_item(ReadItem item) {
  ReadOperation* operation = item.operation;
  operation->busy = false;
  --outstanding_;
  PooledBuffer<SrwLock> buffer = std::move(operation->buffer);
  const bool zero_byte = !buffer;
  if (!zero_byte) connection_->engine()->direct_read_ended();
  const bool cancelled = std::exchange(operation->cancelled, false);
  if (item.error != 0) {
    // Taken back by leave_direct_mode(): nothing was read.
    if (eof_ || (cancelled && item.error == kErrorOperationAborted)) return;
    return read_failed(item.error, zero_byte);
  }
  if (zero_byte) {
    readable_ = true;  // or the end of the stream; only a real read tells
    retries_ = 0;
    return;
  }
  if (item.bytes == 0) {
    if (!std::exchange(eof_, true)) on_peer_end();
    return;
  }
  received(std::move(buffer), item.bytes);
}

void Receiver::received(PooledBuffer<SrwLock> buffer, uint32_t bytes) {
  note_received(bytes, bytes == buffer.size());
  current_ = std::move(buffer);
  current_data_ = current_.data();
  current_offset_ = 0;
  current_size_ = bytes;
}

// `full`: no more was asked for, so more may be there already.
void Receiver::note_received(uint32_t bytes, bool full) {
  received_since_defer_ = true;
  readable_ = full;
  bytes_read_.fetch_add(bytes, std::memory_order_relaxed);
  connection_->engine()->count(Counter::bytes_in, bytes);
  const uint32_t now = connection_->engine()->watch_ms();
  if (rates_ != nullptr && !preamble_) rates_->received(bytes, rates_clock());
  note_arrival(now);
}

// The system has said that something is there; or it is a guess: for a connection that waits without a buffer, the last
// wait was over at once, and no guess has been wrong since. To ask first would be one call more each time.
bool Receiver::may_read_now() const {
  return outstanding_ == 0 && (readable_ || (speculative_read_ && !waits_with_buffer()));
}

// Fetches what is there without waiting. False when the strand has to stop.
bool Receiver::read_now() {
  // The rest of a big packet goes where it is gathered; anything else into a buffer.
  FrameState::Room room = frame_.make_room(connection_->engine()->read_buffers().buffer_size());
  PooledBuffer<SrwLock> buffer;
  if (room.data != nullptr) {
    room.size = (std::min)(room.size, kMaxRead);
  } else {
    buffer = connection_->engine()->read_buffers().get();
    if (!buffer) {
      read_failed(kWsaEnobufs, false);
      return false;
    }
    room = {buffer.data(), buffer.size()};
  }
  DWORD bytes = 0;
  uint32_t error = non_blocking_ ? 0 : calls::make_non_blocking(connection_->socket().get());
  if (error == 0) {
    non_blocking_ = true;
    connection_->engine()->count(Counter::recv_calls, 1);
    error = calls::receive_now(connection_->socket().get(), room.data, room.size, &bytes);
  }
  if (error == WSAEWOULDBLOCK) {
    readable_ = false;
    speculative_read_ = false;
    return true;
  }
  if (error != 0) {
    read_failed(error, false);
    return false;
  }
  if (bytes == 0) {
    eof_ = true;
    on_peer_end();
    return false;
  }
  if (buffer) {
    received(std::move(buffer), bytes);
  } else {
    frame_.filled(bytes);
    note_received(bytes, bytes == room.size);
  }
  return true;
}

// Behind a shortage the next wait takes no buffer, in each mode: a zero-byte read needs no memory.
bool Receiver::waits_with_buffer() const {
  return retries_ == 0 && (connection_->profile().read_mode == ReadMode::direct || is_direct()) &&
         connection_->engine()->may_read_directly();
}

// Nothing is at hand: wait for the peer. False when the strand has to stop, because reads are in the
// kernel; true when one of them is done already.
bool Receiver::post_reads() {
  const bool direct = waits_with_buffer();
  const uint32_t wanted = direct && wait_ != Wait::first_bytes ? connection_->profile().pending_reads : 1;
  bool completed = false;
  while (outstanding_ < wanted && !completed) {
    // A zero-byte read among others would say nothing about what they leave.
    if (!direct && outstanding_ != 0) break;
    const uint32_t error = post_read(!direct, &completed);
    speculative_read_ = completed && !direct;
    if (error == 0) continue;
    if (outstanding_ != 0 && is_resource_shortage(error)) {
      // What is in the kernel will do; when it completes, more are tried again.
      connection_->engine()->count(Counter::enobufs, 1);
      connection_->engine()->shed_direct_reads();
    } else {
      read_failed(error, !direct);
    }
    return false;
  }
  return completed;
}

// Numbers and posts one read. Only the strand does this, so both are one step. 0 unless it failed at
// once; *completed when its result is here already and no packet will come.
uint32_t Receiver::post_read(bool zero_byte, bool* completed) {
  ReadOperation* operation = free_read_operation();
  if (!zero_byte) {
    operation->buffer = connection_->engine()->wait_buffers().get();
    if (!operation->buffer) return kWsaEnobufs;
  }
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    operation->number = sequencer_.next_number();
  }
  operation->busy = true;
  ++outstanding_;
  Ref<Connection> of_read(connection_);  // its packet, which gives it back, may be handled before the call returns
  DWORD bytes = 0;
  uint32_t error = 0;
  if (zero_byte) {
    connection_->engine()->count(Counter::zero_reads, 1);
    error = calls::await_readable(connection_->engine()->port(), connection_->socket().get(), operation->prepare());
  } else {
    connection_->engine()->count(Counter::direct_reads, 1);
    connection_->engine()->direct_read_began();
    error = calls::receive(connection_->engine()->port(), connection_->socket().get(), operation->buffer.data(),
                           operation->buffer.size(), &bytes, operation->prepare());
  }
  if (error == WSA_IO_PENDING || (error == 0 && !connection_->engine()->skips_on_success())) {
    (void)of_read.detach();
    return 0;
  }
  if (error == 0) {
    connection_->engine()->count(Counter::skip_success, 1);
    {
      std::lock_guard<SrwLock> guard(connection_->lock());
      sequencer_.store(operation->number, ReadItem{operation, bytes, 0});
    }
    *completed = true;
    return 0;
  }
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    sequencer_.take_back(operation->number);
  }
  operation->busy = false;
  operation->buffer = PooledBuffer<SrwLock>();
  --outstanding_;
  if (!zero_byte) connection_->engine()->direct_read_ended();
  return error;
}

void Receiver::read_failed(uint32_t error, bool zero_byte) {
  if (is_resource_shortage(error)) {
    connection_->engine()->count(Counter::enobufs, 1);
    if (!zero_byte) connection_->engine()->shed_direct_reads();  // fewer locked pages from now on
    wait_ = Wait::idle;
    speculative_read_ = false;
    if (retries_ < kMaxRetries) {
      const uint32_t delay_ms = 10u << ++retries_;
      bool arm = false;
      {
        std::lock_guard<SrwLock> guard(connection_->lock());
        arm = connection_->hold_back_locked(Connection::Strand::receiving);
      }
      if (arm) connection_->arm_retry(delay_ms);
      return;
    }
  }
  connection_->fail(error);
}

// The peer has half-closed and everything before it has been delivered. Whether this side ends too is
// decided in JavaScript, after the packets before it have been seen there and answered.
void Receiver::on_peer_end() {
  if (preamble_) {
    connection_->close(CloseCause::peer_end, 0, false);
    return;
  }
  bool tell = false;
  cut_raw_off();
  bool both = false;
  CloseCause cause = CloseCause::none;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    // A worker that is not through with a packet may still answer it; job_ended() tells then.
    tell = jobs_ == 0;
    peer_end_waits_ = !tell;
    Connection::End& end = connection_->end_locked();
    end.peer_ended = true;
    both = end.shut_down;
    cause = end.cause;
  }
  if (tell) connection_->engine()->report(RecordKind::peer_end, connection_->id());
  if (both) connection_->close(cause, 0, false);
}

void Receiver::jobs_added(uint32_t count) {
  std::lock_guard<SrwLock> guard(connection_->lock());
  jobs_ += count;
}

void Receiver::job_ended() {
  bool tell = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    --jobs_;
    tell = jobs_ == 0 && std::exchange(peer_end_waits_, false);
  }
  if (tell) connection_->engine()->report(RecordKind::peer_end, connection_->id());
}

void Receiver::unpark() {
  parked_.store(false, std::memory_order_release);
  connection_->request(Connection::kReceive);
}

// Not one that has just been accepted: its strand begins behind its CONNECTION record, or its preamble's timer.
void Receiver::unpark_if_parked() {
  if (parked_.exchange(false, std::memory_order_acq_rel)) connection_->request(Connection::kReceive);
}

void Receiver::resume() {
  flow_.paused.store(false, std::memory_order_release);
  connection_->request(Connection::kReceive);
}

void Receiver::demand(uint32_t packets) {
  flow_.demand.fetch_add(packets, std::memory_order_acq_rel);
  connection_->request(Connection::kReceive);
}

size_t Receiver::finish() {
  if (preamble_) std::exchange(preamble_, nullptr)->end();
  if (outstanding_ != 0) forget_reads();
  (void)Ref<ReceiveFile>::adopt(flow_.raw_file.exchange(nullptr));
  return frame_.buffered() + (current_size_ - current_offset_);
}

ReadOperation* Receiver::free_read_operation() {
  if (!read_.busy) return &read_;
  const uint32_t others = connection_->profile().pending_reads - 1;
  if (more_reads_ == nullptr) {
    more_reads_.reset(new std::unique_ptr<ReadOperation>[others]);
  }
  for (uint32_t i = 0; i < others; ++i) {
    if (more_reads_[i] == nullptr) more_reads_[i] = std::make_unique<ReadOperation>(connection_);
    if (!more_reads_[i]->busy) return more_reads_[i].get();
  }
  return nullptr;  // not reached: no more reads are outstanding than operations exist
}

}  // namespace iocp
