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

TransmitOperation::TransmitOperation() : Operation(&ConnectionFiles::on_transmit_complete) {}

Connection::Connection(ConnectionEngine* engine, const ProfileRef& profile, UniqueSocket socket, const Address& local,
                       const Address& remote, Listener* listener)
    : engine_(engine),
      profile_(profile),
      listener_(listener),
      socket_(std::move(socket)),
      receiver_(this, *profile),
      sender_(this, *profile),
      upkeep_timer_(this),
      local_(local),
      remote_(remote) {
  if (profile_->time_limits.any()) start_watch(profile_->time_limits);
}

Connection::~Connection() { delete watch(); }

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
  engine_->cancel(upkeep_timer_);
  socket_.take().reset();
  sender_.finish();
  const size_t discarded = receiver_.finish();
  // Nothing of them is pending, and their handles are closed, so before the CLOSE record.
  if (files_ != nullptr) files_->cancel_timers();
  files_.reset();
  if (is_announced())
    engine_->report(RecordKind::close, id_, static_cast<uint32_t>(cause_), detail_, static_cast<uint32_t>(discarded));
  engine_->remove_connection(this);  // frees this
}

void Connection::leave_locked(ToClose* to_close) {
  if (socket_.leave()) take_socket_locked(to_close);
}

// No strand is under way, so what they have posted does not change.
void Connection::take_socket_locked(ToClose* to_close) {
  to_close->abortive = abortive_;
  to_close->cancel = (receiver_.has_reads_locked() || sender_.is_sending_locked()) && extension_functions().ifs_handles;
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

bool Connection::close(CloseCause cause, uint32_t detail, bool abortive) {
  ToClose to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing()) return false;
    cause_ = cause;
    detail_ = detail;
    abortive_ = abortive;
    if (socket_.close()) take_socket_locked(&to_close);
  }
  close_socket(std::move(to_close));
  abandon_files(false);
  release();  // the count of being open
  return true;
}

void Connection::close_now(CloseCause cause, uint32_t detail, bool abortive) {
  close(cause, detail, abortive);
  abandon_files(true);  // also when it was closing already, and only a disk was waited for
}

void Connection::begin_preamble(const Ref<Preamble>& preamble) {
  stage_.store(Stage::preamble, std::memory_order_release);
  delete watch_.exchange(nullptr);  // the preamble has a time of its own; the limits begin behind it
  receiver_.begin_preamble(preamble);
}

// The strand that has the whole preamble and the timer that has waited for it meet here.
bool Connection::decide() {
  std::lock_guard<SrwLock> guard(lock_);
  if (socket_.is_closing() || stage_.load(std::memory_order_relaxed) != Stage::preamble) return false;
  stage_.store(Stage::decided, std::memory_order_release);
  return true;
}

// The strand. Where the timer has decided it may not have closed it yet, and what comes behind is not to be decoded.
void Connection::refuse(Refusal why) {
  if (decide()) engine_->note_refused(why);
  close(CloseCause::refused, 0, true);
}

void Connection::refuse_if_undecided(Refusal why) {
  if (!decide()) return;
  engine_->note_refused(why);
  close(CloseCause::refused, 0, true);
}

bool Connection::end_preamble(Preamble& preamble) {
  if (!decide()) {
    close(CloseCause::refused, 0, true);
    return false;
  }
  if (!engine_->admit(this, preamble.finish(this))) return false;
  stage_.store(Stage::announced, std::memory_order_release);
  const std::vector<uint8_t>& details = preamble.details();
  if (profile_->time_limits.any()) start_watch(profile_->time_limits);
  engine_->announce(this, {details.data(), details.size()});
  if (watch() != nullptr) request(kUpkeep);
  return true;
}

ConnectionFiles& Connection::files() {
  std::lock_guard<SrwLock> guard(lock_);
  if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>(this);
  return *files_;
}

const SendFile* Connection::find_held_file_locked(uint32_t id) const {
  return files_ == nullptr ? nullptr : files_->find_held_locked(id);
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
    if (socket_.is_closing() || !begin_end_locked(cause, deadline_ms)) return;
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

bool Connection::begin_end_locked(CloseCause cause, uint32_t deadline_ms) {
  if (end_.requested) return false;
  end_.requested = true;
  if (end_.cause == CloseCause::max_life && cause == CloseCause::local) cause = end_.cause;
  end_.cause = end_.peer_ended && cause == CloseCause::local ? CloseCause::peer_end : cause;
  end_.deadline_ms = deadline_ms;
  return true;
}

void Connection::hold_end(bool on) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    end_.held = on;
  }
  if (!on) request(kSend);  // our FIN may have waited for it
}

bool Connection::hold_back_locked(Strand strand) {
  const bool armed = held_back_ != 0;
  held_back_ = static_cast<uint8_t>(held_back_ | static_cast<uint8_t>(strand));
  return !armed;
}

void Connection::arm_retry(uint32_t delay_ms) { engine_->arm(rare_timers().retry, delay_ms); }

void Connection::arm_abandon_files(uint32_t delay_ms) { engine_->arm(rare_timers().abandon_files, delay_ms); }

Connection::RareTimers& Connection::rare_timers() {
  std::lock_guard<SrwLock> guard(lock_);
  if (rare_timers_ == nullptr) rare_timers_ = std::make_unique<RareTimers>(this);
  return *rare_timers_;
}

// A call or an operation on an open connection failed for good.
void Connection::fail(uint32_t error) {
  const uint32_t code = established_connection_error(error, false);
  CloseCause cause = CloseCause::io_error;
  if (code == kWsaEconnreset || code == kWsaEconnaborted) cause = CloseCause::peer_reset;
  // WSAENETRESET: keep-alive has had no answer.
  if (code == kWsaEtimedout || code == kErrorSemTimeout || code == WSAENETRESET) cause = CloseCause::timeout;
  close(cause, code, true);
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
    if ((bits & kRetry) != 0) held_back_ = 0;
    deadline_ms = end_.deadline_ms;
    end_cause = end_.cause;
    requested = requested_cause_;
  }
  if ((bits & kCloseLate) != 0) close_late();
  if ((bits & kAbandonFiles) != 0) abandon_files(false);
  if ((bits & kDropped) != 0 && !closing) sender_.report_dropped();
  if ((bits & kDestroy) != 0) return close_now(requested, 0, false);
  if ((bits & kReset) != 0) return close_now(requested, 0, true);
  if ((bits & kCut) != 0) {
    const bool says_why = end_cause == CloseCause::server_closing || end_cause == CloseCause::max_life;
    return close_now(says_why ? end_cause : CloseCause::timeout, kWsaEtimedout, true);
  }
  if (closing) return;
  if ((bits & kEnd) != 0 && deadline_ms != 0) engine_->arm(rare_timers().deadline, deadline_ms);
  if ((bits & (kSend | kEnd)) != 0) sender_.run();
  if ((bits & kUpkeep) != 0) {
    check_times();
    receiver_.check_mode();
  }
  if ((bits & (kReceive | kUpkeep)) != 0) receiver_.run();
}

// Those that are replaced are let go without the lock: the last count frees them.
void Connection::set_framing(ProfileRef profile) {
  ProfileRef old_send = profile;
  ProfileRef old_next = profile;
  std::lock_guard<SrwLock> guard(lock_);
  if (changed_framings_ == nullptr) changed_framings_ = std::make_unique<ChangedFramings>();
  std::swap(changed_framings_->send, old_send);
  std::swap(changed_framings_->next_receive, old_next);
  sender_.set_framing_locked(profile->send.get());
  receiver_.framing_changes_locked(profile->receive.get());
}

const Framing& Connection::take_receive_framing() {
  ProfileRef old;
  std::lock_guard<SrwLock> guard(lock_);
  std::swap(old, changed_framings_->receive);
  std::swap(changed_framings_->receive, changed_framings_->next_receive);
  receiver_.framing_changes_locked(nullptr);
  return *changed_framings_->receive->receive;
}

ProfileRef Connection::send_profile() {
  std::lock_guard<SrwLock> guard(lock_);
  return changed_framings_ == nullptr ? profile_ : changed_framings_->send;
}

ConnectionStats Connection::stats() {
  ConnectionStats stats{};
  stats.bytes_read = receiver_.bytes_read();
  stats.bytes_written = sender_.bytes_written();
  stats.packets_read = receiver_.packets_read();
  stats.packets_written = sender_.packets_written();
  const SendQueue::Totals queued = sender_.queued();
  stats.queued_bytes = queued.bytes;
  stats.queued_packets = queued.packets;
  return stats;
}

}  // namespace iocp
