// The receiving strand: reads are posted, taken in the order of posting, decoded and delivered by one
// thread at a time, whichever I/O thread that is.
//
// Idle, a connection has one zero-byte read pending: no memory is locked for it. When that completes
// the bytes are fetched without waiting into a pooled buffer. For the first bytes and while packets come in
// quick succession (`hot_`) the wait is a read with a buffer instead, which saves the second call.
//
// A connection that has just been fed does not wait for more at once: its next read is put off until the
// thread has done what else there is. Often the peer has had its answer by then and has sent more, and a
// read that finds something costs a fraction of one that waits. Where that has come true, the next one is
// tried without asking first whether something is there (may_read_now).
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
// Of a packet that is gathered, by one call.
constexpr size_t kMaxRead = 1024 * 1024;

}  // namespace

void Connection::on_read_complete(Operation* self, uint32_t error, uint32_t bytes) {
  ReadOperation* operation = static_cast<ReadOperation*>(self);
  const Ref<Connection> connection = Ref<Connection>::adopt(operation->connection);
  bool run = false;
  {
    std::lock_guard<SrwLock> guard(connection->lock_);
    connection->sequencer_.store(operation->number, ReadItem{operation, bytes, error});
    // A strand that is running will take it before it leaves.
    run = !connection->receiving_ && connection->socket_.enter();
    if (run) connection->receiving_ = true;
  }
  if (run) connection->receive_strand();
}

void Connection::run_receive() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (receiving_) {
      receive_again_ = true;
      return;
    }
    if (!socket_.enter()) return;
    receiving_ = true;
  }
  receive_strand();
}

void Connection::run_deferred_read() {
  // A strand that still finds it set leaves after this: it will see the run that is asked for below.
  read_deferred_.store(false);
  run_receive();
}

// Entered as the receiving strand, with a count on the connection and as a user of the socket.
void Connection::receive_strand() {
  uint32_t rounds = 0;
  const uint64_t most = bytes_read_.load(std::memory_order_relaxed) + kMaxInlineBytes;
  if (std::exchange(new_, false)) warm_up();
  for (;;) {
    bool stop = false;
    cool();
    if (eof_) cut_raw_off();
    if (has_undecoded()) {
      stop = !may_deliver() || !decode_current();
    } else {
      ReadItem item;
      bool held_back = false;
      {
        std::lock_guard<SrwLock> guard(lock_);
        held_back = socket_.is_closing() || read_waits_;
        // After the end of the stream the other reads only give their buffers back.
        if (!socket_.is_closing() && (eof_ || may_deliver())) sequencer_.take(&item);
      }
      if (item.operation != nullptr) {
        take_item(item);
      } else if (held_back || eof_ || !may_deliver() || over_delivery_bound()) {
        stop = true;
      } else if (fed_ && !readable_ && outstanding_ == 0 && engine_->defer_read(this)) {
        fed_ = false;
        stop = true;
      } else if (++rounds > kMaxInlineRounds || bytes_read_.load(std::memory_order_relaxed) >= most) {
        return yield_receive();
      } else {
        stop = may_read_now() ? !read_now() : !post_reads();
      }
    }
    if (!stop) continue;
    shrink_rest();
    if (leave_receive()) return;
  }
}

// Other connections have their turn; this one comes back through the list of those that are ready.
void Connection::yield_receive() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    receiving_ = false;
  }
  leave();
  request(kReceive);
}

// False when something came in meanwhile that this thread has to look at.
bool Connection::leave_receive() {
  ToClose to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (!socket_.is_closing() && std::exchange(receive_again_, false)) return false;
    if (!socket_.is_closing() && sequencer_.has_next() && !has_undecoded() &&
        (eof_ || (may_deliver() && !parked_.load(std::memory_order_acquire)))) {
      return false;
    }
    receiving_ = false;
    leave_locked(&to_close);
  }
  close_socket(std::move(to_close));
  return true;
}

// A read has completed, and it is its turn.
void Connection::take_item(ReadItem item) {
  ReadOperation* operation = item.operation;
  operation->busy = false;
  --outstanding_;
  PooledBuffer<SrwLock> buffer = std::move(operation->buffer);
  const bool zero_byte = !buffer;
  if (!zero_byte) engine_->direct_read_ended();
  const bool cancelled = std::exchange(operation->cancelled, false);
  if (item.error != 0) {
    // Taken back by cool(): nothing was read.
    if (eof_ || (cancelled && item.error == kErrorOperationAborted)) return;
    return read_failed(item.error, zero_byte);
  }
  if (zero_byte) {
    readable_ = true;  // or the end of the stream; only a real read tells
    read_retries_ = 0;
    return;
  }
  if (item.bytes == 0) {
    if (!std::exchange(eof_, true)) on_peer_end();
    return;
  }
  received(std::move(buffer), item.bytes);
}

void Connection::received(PooledBuffer<SrwLock> buffer, uint32_t bytes) {
  note_received(bytes, bytes == buffer.size());
  current_ = std::move(buffer);
  current_data_ = current_.data();
  current_offset_ = 0;
  current_size_ = bytes;
}

// `full`: no more was asked for, so more may be there already.
void Connection::note_received(uint32_t bytes, bool full) {
  fed_ = true;
  readable_ = full;
  bytes_read_.fetch_add(bytes, std::memory_order_relaxed);
  engine_->count(Counter::bytes_in, bytes);
  note_arrival();
}

// The system has said that something is there; or it is a guess: for a connection that waits without a buffer, the last
// wait was over at once, and no guess has been wrong since. To ask first would be one call more each time.
bool Connection::may_read_now() const { return outstanding_ == 0 && (readable_ || (lucky_ && !waits_with_buffer())); }

// Fetches what is there without waiting. False when the strand has to stop.
bool Connection::read_now() {
  // The rest of a big packet goes where it is gathered; anything else into a buffer.
  FrameState::Room room = frame_.make_room(engine_->read_buffers().buffer_size());
  PooledBuffer<SrwLock> buffer;
  if (room.data != nullptr) {
    room.size = (std::min)(room.size, kMaxRead);
  } else {
    buffer = engine_->read_buffers().get();
    if (!buffer) {
      read_failed(kWsaEnobufs, false);
      return false;
    }
    room = {buffer.data(), buffer.size()};
  }
  DWORD bytes = 0;
  uint32_t error = non_blocking_ ? 0 : calls::make_non_blocking(socket_.get());
  if (error == 0) {
    non_blocking_ = true;
    engine_->count(Counter::recv_calls, 1);
    error = calls::receive_now(socket_.get(), room.data, room.size, &bytes);
  }
  if (error == WSAEWOULDBLOCK) {
    readable_ = false;
    lucky_ = false;
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

bool Connection::waits_with_buffer() const {
  return (profile_->read_mode == ReadMode::direct || hot_) && engine_->may_read_directly();
}

// Nothing is at hand: wait for the peer. False when the strand has to stop, because reads are in the
// kernel; true when one of them is done already.
bool Connection::post_reads() {
  const bool direct = waits_with_buffer();
  const uint32_t wanted = direct && !greeting_ ? profile_->pending_reads : 1;
  bool completed = false;
  while (outstanding_ < wanted && !completed) {
    // A zero-byte read among others would say nothing about what they leave.
    if (!direct && outstanding_ != 0) break;
    const uint32_t error = post_read(!direct, &completed);
    lucky_ = completed && !direct;
    if (error == 0) continue;
    if (outstanding_ != 0 && is_resource_shortage(error)) {
      // What is in the kernel will do; when it completes, more are tried again.
      engine_->count(Counter::enobufs, 1);
      engine_->shed_direct_reads();
    } else {
      read_failed(error, !direct);
    }
    return false;
  }
  return completed;
}

// Numbers and posts one read. Only the strand does this, so both are one step. 0 unless it failed at
// once; *completed when its result is here already and no packet will come.
uint32_t Connection::post_read(bool zero_byte, bool* completed) {
  ReadOperation* operation = free_read_operation();
  if (!zero_byte) {
    operation->buffer = engine_->wait_buffers().get();
    if (!operation->buffer) return kWsaEnobufs;
  }
  {
    std::lock_guard<SrwLock> guard(lock_);
    operation->number = sequencer_.next_number();
  }
  operation->busy = true;
  ++outstanding_;
  Ref<Connection> of_read(this);  // its packet, which gives it back, may be handled before the call returns
  DWORD bytes = 0;
  uint32_t error = 0;
  if (zero_byte) {
    engine_->count(Counter::zero_reads, 1);
    error = calls::await_readable(socket_.get(), operation->prepare());
  } else {
    engine_->count(Counter::direct_reads, 1);
    engine_->direct_read_began();
    error =
        calls::receive(socket_.get(), operation->buffer.data(), operation->buffer.size(), &bytes, operation->prepare());
  }
  if (error == WSA_IO_PENDING || (error == 0 && !engine_->skips_on_success())) {
    (void)of_read.detach();
    return 0;
  }
  if (error == 0) {
    engine_->count(Counter::skip_success, 1);
    {
      std::lock_guard<SrwLock> guard(lock_);
      sequencer_.store(operation->number, ReadItem{operation, bytes, 0});
    }
    *completed = true;
    return 0;
  }
  {
    std::lock_guard<SrwLock> guard(lock_);
    sequencer_.take_back(operation->number);
  }
  operation->busy = false;
  operation->buffer = PooledBuffer<SrwLock>();
  --outstanding_;
  if (!zero_byte) engine_->direct_read_ended();
  return error;
}

void Connection::read_failed(uint32_t error, bool zero_byte) {
  if (is_resource_shortage(error)) {
    engine_->count(Counter::enobufs, 1);
    if (!zero_byte) engine_->shed_direct_reads();  // fewer locked pages from now on
    hot_ = false;
    lucky_ = false;  // a zero-byte read needs no memory
    if (read_retries_ < kMaxRetries) {
      const uint32_t delay_ms = 10u << ++read_retries_;
      bool arm = false;
      {
        std::lock_guard<SrwLock> guard(lock_);
        arm = wait_locked(&read_waits_);
      }
      if (arm) engine_->arm(rare_timers().retry, delay_ms);
      return;
    }
  }
  fail(error);
}

// The peer has half-closed and everything before it has been delivered. Whether this side ends too is
// decided in JavaScript, after the packets before it have been seen there and answered.
void Connection::on_peer_end() {
  bool tell = false;
  cut_raw_off();
  bool both = false;
  CloseCause cause = CloseCause::none;
  {
    std::lock_guard<SrwLock> guard(lock_);
    // A worker that is not through with a packet may still answer it; job_ended() tells then.
    tell = jobs_ == 0;
    peer_end_waits_ = !tell;
    peer_ended_ = true;
    both = shut_down_;
    cause = end_cause_;
  }
  if (tell) tell_peer_end();
  if (both) close(cause, 0, false);
}

void Connection::tell_peer_end() { engine_->report(RecordKind::peer_end, id_); }

void Connection::jobs_added(uint32_t count) {
  std::lock_guard<SrwLock> guard(lock_);
  jobs_ += count;
}

void Connection::job_ended() {
  bool tell = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    --jobs_;
    tell = jobs_ == 0 && std::exchange(peer_end_waits_, false);
  }
  if (tell) tell_peer_end();
}

ReadOperation* Connection::free_read_operation() {
  if (!read_.busy) return &read_;
  const uint32_t others = profile_->pending_reads - 1;
  if (more_reads_ == nullptr) {
    more_reads_.reset(new std::unique_ptr<ReadOperation>[others]);
  }
  for (uint32_t i = 0; i < others; ++i) {
    if (more_reads_[i] == nullptr) more_reads_[i] = std::make_unique<ReadOperation>(this);
    if (!more_reads_[i]->busy) return more_reads_[i].get();
  }
  return nullptr;  // not reached: no more reads are outstanding than operations exist
}

}  // namespace iocp
