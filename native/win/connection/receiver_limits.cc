// What the receiving strand does for the limits of its connection: how fast the peer may send, and how long it may
// take.
#include <algorithm>
#include <mutex>

#include "win/connection/connection.h"
#include "win/connection/receiver.h"

namespace iocp {
namespace {

// After this side has not read for a while, it is seen what is due; not at once, for that may be so many times a
// second.
constexpr uint32_t kResumedMs = 50;

}  // namespace

// The peer has sent more than it may for now: the strand goes on when the timer says so. The timer may be armed for an
// earlier time; then this is asked again.
bool Receiver::waits_for_rate() {
  if (!rates_->waits()) return false;
  const uint32_t wait = rates_->wait_ms(rates_clock());
  if (wait == 0) return false;
  connection_->arm_upkeep(wait);
  return true;
}

bool Receiver::close_if_exceeded() {
  if (!rates_->exceeded()) return false;
  connection_->close(CloseCause::rate_exceeded, 0, true);
  return true;
}

void Receiver::note_ended_packet() {
  if (!had_packet()) had_packet_.store(true, std::memory_order_relaxed);
}

// What is discarded or streamed may take as long as it takes; a least rate holds for it all the same.
void Receiver::note_decoded(bool ended) {
  const TimeWatch::Open open = frame_.at_rest()                               ? TimeWatch::Open::none
                               : frame_.phase() == FrameState::Phase::stream  ? TimeWatch::Open::streamed
                               : frame_.phase() == FrameState::Phase::discard ? TimeWatch::Open::streamed
                                                                              : TimeWatch::Open::gathered;
  if (open == TimeWatch::Open::streamed) note_ended_packet();
  if (!connection_->watch()->decoded(connection_->engine()->watch_ms(), ended, open, bytes_read())) return;
  // Looked up behind it: limits that change now are checked, and find what has begun.
  const TimeLimits limits = connection_->time_limits();
  uint32_t soon = TimeWatch::kNever;
  if (limits.packet != 0 && open == TimeWatch::Open::gathered) soon = limits.packet;
  if (limits.min_rate_bytes != 0) soon = (std::min)(soon, limits.min_rate_grace + limits.min_rate_per);
  if (soon != TimeWatch::kNever) connection_->check_times_in(soon);
}

void Receiver::may_have_waited() {
  if (rates_ != nullptr) rates_->may_have_waited(IoContext::coarse_ms());
}

uint32_t Receiver::rates_clock() {
  const uint32_t now = IoContext::coarse_ms();
  if (connection_->engine()->was_stopped()) rates_->process_resumed(now);
  return now;
}

// The strand is about to leave. What keeps it from reading is this side's affair.
void Receiver::note_reading() {
  TimeWatch* const watch = connection_->watch();
  bool held_back = false;  // by a shortage
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    held_back = connection_->is_held_back_locked(Connection::Strand::receiving);
  }
  const bool reads = eof_ || (!held_back && !has_undecoded() && may_deliver() &&
                              !parked_.load(std::memory_order_acquire) && (rates_ == nullptr || !rates_->waits()));
  if (rates_ != nullptr) rates_->note_reading(reads, rates_clock());
  if (watch == nullptr) return;
  // One that had begun before there were any limits.
  note_decoded(false);
  if (eof_) watch->peer_ended();
  // A check finds out what is due and when.
  if (watch->set_reading(reads, connection_->engine()->watch_ms(), had_packet())) {
    connection_->check_times_in(kResumedMs);
  }
}

}  // namespace iocp
