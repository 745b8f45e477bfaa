// What the receiving strand does for the limits of its connection: how fast the peer may send, and how long it may
// take.
#include "win/connection/connection.h"
#include "win/connection/receiver.h"

namespace iocp {

// The peer has sent more than it may for now: the strand goes on when the timer says so. The timer may be armed for an
// earlier time; then this is asked again.
bool Receiver::waits_for_rate() {
  if (!rates_->waits()) return false;
  const uint32_t wait = rates_->wait_ms(connection_->engine()->watch_ms());
  if (wait == 0) return false;
  connection_->arm_upkeep(wait);
  return true;
}

bool Receiver::close_if_exceeded() {
  if (!rates_->exceeded()) return false;
  connection_->close(CloseCause::rate_exceeded, 0, true);
  return true;
}

void Receiver::note_decoded(bool whole) {
  TimeWatch* const watch = connection_->watch();
  const TimeWatch::Open open = frame_.at_rest()                              ? TimeWatch::Open::none
                               : frame_.phase() == FrameState::Phase::stream ? TimeWatch::Open::streamed
                                                                             : TimeWatch::Open::gathered;
  // Most packets come whole: nothing begins, and no limit has to be looked up.
  const TimeLimits limits = open == TimeWatch::Open::none ? TimeLimits() : connection_->time_limits();
  const uint32_t soon = watch->decoded(limits, connection_->engine()->watch_ms(), whole, open, bytes_read());
  if (soon != TimeWatch::kNever) connection_->check_times_in(soon);
}

// The strand is about to leave. What keeps it from reading is this side's affair, or the peer has ended.
void Receiver::note_reading() {
  const bool reads = !eof_ && !has_undecoded() && may_deliver() && !parked_.load(std::memory_order_acquire) &&
                     (rates_ == nullptr || !rates_->waits());
  // A check finds out what is due and when.
  if (connection_->watch()->set_reading(reads, connection_->engine()->watch_ms())) connection_->check_times_in(0);
}

}  // namespace iocp
