#include "win/connection/connection.h"

#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/sys/extension_functions.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// So long may the system take to give cancelled operations back.
constexpr uint32_t kCancelMs = 100;

}  // namespace

ReadOperation::ReadOperation(Connection* owner) : Operation(&Connection::on_read_complete), connection(owner) {}

SendOperation::SendOperation(Connection* owner) : Operation(&Connection::on_send_complete), connection(owner) {}

TransmitOperation::TransmitOperation() : Operation(&ConnectionFiles::on_transmit_complete) {}

Connection::Connection(ConnectionEngine* engine, const ProfileRef& profile, UniqueSocket socket, const Address& local,
                       const Address& remote, Listener* listener)
    : engine_(engine),
      profile_(profile),
      listener_(listener),
      receive_framing_(profile->receive.get()),
      send_framing_(profile->send.get()),
      socket_(std::move(socket)),
      sequencer_(profile->pending_reads),
      takes_transfers_(carries_transfers(*profile->receive)),
      takes_iocps_files_(profile->transfers && profile->receive->iocps_files()),
      read_(this),
      write_(this),
      cool_timer_(this),
      local_(local),
      remote_(remote) {}

Connection::~Connection() = default;

void Connection::release() {
  if (refs_.drop()) finalize();
}

// The one place where a connection ends: it is closing and nothing of it is pending any more. What it has open of
// files a disk thread closes first.
void Connection::finalize() {
  if (files_ != nullptr && files_->close_first()) return;
  if (rare_timers_ != nullptr) {
    engine_->cancel(rare_timers_->retry);
    engine_->cancel(rare_timers_->deadline);
    engine_->cancel(rare_timers_->late_close);
    engine_->cancel(rare_timers_->abandon_files);
  }
  engine_->cancel(cool_timer_);
  socket_.take().reset();
  SendQueue::Finished unsent;
  send_.give_up();  // a write that failed leaves its packets behind
  send_.clear(&unsent);
  report_finished(unsent, SendOutcome::closed);
  report_dropped();
  if (outstanding_ != 0) forget_reads();
  // Nothing of them is pending, and their handles are closed, so before the CLOSE record.
  if (ReceiveFile* raw = raw_file_.exchange(nullptr)) raw->release();
  if (files_ != nullptr) files_->cancel_timers();
  files_.reset();
  const size_t discarded = frame_.buffered() + (current_size_ - current_offset_);
  engine_->report(RecordKind::close, id_, static_cast<uint32_t>(cause_), detail_, static_cast<uint32_t>(discarded));
  engine_->remove_connection(this);  // frees this
}

void Connection::leave_locked(ToClose* to_close) {
  if (socket_.leave()) take_socket_locked(to_close);
}

// No strand is under way, so what they have posted does not change.
void Connection::take_socket_locked(ToClose* to_close) {
  to_close->abortive = abortive_;
  to_close->cancel = (outstanding_ != 0 || sending_) && extension_functions().ifs_handles;
  if (!to_close->cancel) to_close->socket = socket_.take();
}

void Connection::leave() {
  ToClose to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    leave_locked(&to_close);
  }
  close_socket(std::move(to_close));
}

// A socket is closed behind its last operation (finalize), not before. Where the system finishes an operation in
// the thread that began it (Wine), one that is just being finished cannot be cancelled, looks the handle up once
// more, and by then might find the socket that has been given the same number.
//
// Handles of a layered service provider are not those of the system, and cannot be cancelled: closing ends theirs.
void Connection::close_socket(ToClose to_close) {
  if (!to_close.cancel && !to_close.socket) return;
  // The caller holds a count, and no other thread has business with a socket that stays here.
  if (to_close.abortive) calls::make_close_abortive(to_close.cancel ? socket_.get() : to_close.socket.get());
  if (!to_close.cancel) return;
  calls::cancel_all(socket_.handle());
  engine_->arm(rare_timers().late_close, kCancelMs);
}

// Cancelling is advice; closing is not.
void Connection::close_late() {
  UniqueSocket socket;
  {
    std::lock_guard<SrwLock> guard(lock_);
    socket = socket_.take();
  }
  calls::cancel_and_close(std::move(socket));
}

void Connection::close(CloseCause cause, uint32_t detail, bool abortive) {
  ToClose to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing()) return;
    cause_ = cause;
    detail_ = detail;
    abortive_ = abortive;
    if (socket_.close()) take_socket_locked(&to_close);
  }
  close_socket(std::move(to_close));
  abandon_files(false);
  release();  // the count of being open
}

void Connection::close_now(CloseCause cause, uint32_t detail, bool abortive) {
  close(cause, detail, abortive);
  abandon_files(true);  // also when it was closing already, and only a disk was waited for
}

ConnectionFiles& Connection::files() {
  std::lock_guard<SrwLock> guard(lock_);
  if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>(this);
  return *files_;
}

ConnectionFiles* Connection::files_if_any() {
  std::lock_guard<SrwLock> guard(lock_);
  return files_.get();
}

void Connection::abandon_files(bool also_complete) {
  if (ConnectionFiles* files = files_if_any()) files->abandon(also_complete);
}

void Connection::request(uint32_t bits) {
  bool schedule = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    schedule = request_locked(bits);
  }
  if (schedule) engine_->schedule(Ref<Connection>(this));
}

// True when the caller has to schedule the connection, without the lock.
bool Connection::request_locked(uint32_t bits) {
  requests_ |= bits;
  return !std::exchange(scheduled_, true);
}

void Connection::request_end(CloseCause cause, uint32_t deadline_ms) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing() || !end_locked(cause, deadline_ms)) return;
  }
  request(kEnd);
}

void Connection::request_close(CloseCause cause, uint32_t how) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if ((requests_ & (kDestroy | kReset)) == 0) requested_cause_ = cause;
  }
  request(how);
}

bool Connection::end_locked(CloseCause cause, uint32_t deadline_ms) {
  if (end_requested_) return false;
  end_requested_ = true;
  end_cause_ = peer_ended_ && cause == CloseCause::local ? CloseCause::peer_end : cause;
  end_deadline_ms_ = deadline_ms;
  return true;
}

// After a shortage: holds a strand back until the timer's request, for whatever else wants it to run
// meanwhile must not use the retries up. True when the timer, which both share, has to be armed.
bool Connection::wait_locked(bool* waits) {
  const bool armed = send_waits_ || read_waits_;
  *waits = true;
  return !armed;
}

// Most connections never need them.
Connection::RareTimers& Connection::rare_timers() {
  std::lock_guard<SrwLock> guard(lock_);
  if (rare_timers_ == nullptr) rare_timers_ = std::make_unique<RareTimers>(this);
  return *rare_timers_;
}

void Connection::service() {
  uint32_t bits = 0;
  uint32_t deadline_ms = 0;
  CloseCause end_cause = CloseCause::none;
  CloseCause requested = CloseCause::local;
  bool closing = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    bits = std::exchange(requests_, 0);
    scheduled_ = false;
    closing = socket_.is_closing();
    if ((bits & kRetry) != 0) send_waits_ = read_waits_ = false;
    deadline_ms = end_deadline_ms_;
    end_cause = end_cause_;
    requested = requested_cause_;
  }
  if ((bits & kCloseLate) != 0) close_late();
  if ((bits & kAbandonFiles) != 0) abandon_files(false);
  if ((bits & kDropped) != 0 && !closing) report_dropped();
  if ((bits & kDestroy) != 0) return close_now(requested, 0, false);
  if ((bits & kReset) != 0) return close_now(requested, 0, true);
  if ((bits & kCut) != 0) {
    const bool stopping = end_cause == CloseCause::server_closing;
    return close_now(stopping ? end_cause : CloseCause::timeout, kWsaEtimedout, true);
  }
  if (closing) return;
  if ((bits & kEnd) != 0 && deadline_ms != 0) engine_->arm(rare_timers().deadline, deadline_ms);
  if ((bits & (kSend | kEnd)) != 0) run_send();
  if ((bits & kCool) != 0) cool_check_.store(true);
  if ((bits & (kReceive | kCool)) != 0) run_receive();
}

void Connection::unpark() {
  parked_.store(false, std::memory_order_release);
  request(kReceive);
}

void Connection::resume() {
  paused_.store(false, std::memory_order_release);
  request(kReceive);
}

void Connection::demand(uint32_t packets) {
  demand_.fetch_add(packets, std::memory_order_acq_rel);
  request(kReceive);
}

// Those that are replaced are let go without the lock: the last count frees them.
void Connection::set_framing(ProfileRef profile) {
  ProfileRef old_send = profile;
  ProfileRef old_next = profile;
  std::lock_guard<SrwLock> guard(lock_);
  if (changed_framings_ == nullptr) changed_framings_ = std::make_unique<ChangedFramings>();
  std::swap(changed_framings_->send, old_send);
  std::swap(changed_framings_->next_receive, old_next);
  send_framing_.store(profile->send.get(), std::memory_order_release);
  next_receive_framing_.store(profile->receive.get(), std::memory_order_release);
}

ProfileRef Connection::send_profile() {
  std::lock_guard<SrwLock> guard(lock_);
  return changed_framings_ == nullptr ? profile_ : changed_framings_->send;
}

ConnectionStats Connection::stats() {
  ConnectionStats stats{};
  stats.bytes_read = bytes_read_.load(std::memory_order_relaxed);
  stats.bytes_written = bytes_written_.load(std::memory_order_relaxed);
  stats.packets_read = packets_read_.load(std::memory_order_relaxed);
  stats.packets_written = packets_written_.load(std::memory_order_relaxed);
  std::lock_guard<SrwLock> guard(lock_);
  stats.queued_bytes = send_.totals().bytes;
  stats.queued_packets = send_.totals().packets;
  return stats;
}

}  // namespace iocp
