// How a connection waits for its peer: with a buffer while packets come in quick succession (Wait::busy), else without.
// Receiving strand.
#include <utility>

#include "win/connection/connection.h"
#include "win/connection/receiver.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

constexpr uint8_t kBusyArrivals = 4;      // so many arrivals...
constexpr uint32_t kQuickMs = 1000;       // ...each within this time of the one before...
constexpr uint32_t kQuickMsOfMany = 100;  // ...when many connections wait with a buffer
constexpr uint32_t kModeCheckMs = 2000;   // a busy connection without arrivals for so long is idle

}  // namespace

// Quick successions make a connection busy; a pause makes it idle again (leave_direct_mode()).
void Receiver::note_arrival(uint32_t now) {
  retries_ = 0;
  const uint32_t last = last_arrival_ms_.load(std::memory_order_relaxed);
  last_arrival_ms_.store(now, std::memory_order_relaxed);
  if (connection_->profile().read_mode != ReadMode::adaptive) return;
  if (wait_ == Wait::first_bytes) wait_ = Wait::idle;  // whether it is busy remains to be seen
  const uint32_t limit = connection_->engine()->below_direct_read_soft_limit() ? kQuickMs : kQuickMsOfMany;
  const bool quick = now - last <= limit;
  if (!quick) {
    quick_arrivals_ = 0;
    wait_ = Wait::idle;
    return;
  }
  if (wait_ == Wait::busy || ++quick_arrivals_ < kBusyArrivals) return;
  wait_ = Wait::busy;
  connection_->arm_upkeep(kModeCheckMs);
}

// Most peers speak as soon as they are connected. So a new connection waits for their first words with a
// buffer, unless it turns out to be quiet.
void Receiver::choose_first_wait() {
  wait_ = Wait::idle;
  if (connection_->profile().read_mode != ReadMode::adaptive || !connection_->engine()->below_first_read_limit())
    return;
  wait_ = Wait::first_bytes;
  last_arrival_ms_.store(connection_->engine()->watch_ms(), std::memory_order_relaxed);
  connection_->arm_upkeep(kModeCheckMs);
}

// Is a connection that waits with a buffer still busy? If not, those reads are taken back. Cancelling is
// advice only: the packet says what came of it, and a read that was faster counts as a read.
void Receiver::leave_direct_mode() {
  bool direct = is_direct();
  for_each_direct_read([&](ReadOperation&) { direct = true; });
  if (!direct) return;
  const uint32_t now = connection_->engine()->watch_ms();
  // One that is ahead of a clock that has been put back.
  if (TimeWatch::is_ahead(last_arrival_ms_.load(std::memory_order_relaxed), now)) last_arrival_ms_.store(now);
  if (TimeWatch::elapsed(last_arrival_ms_.load(std::memory_order_relaxed), now) < kModeCheckMs / 2) {
    return connection_->arm_upkeep(kModeCheckMs);
  }
  wait_ = Wait::idle;
  quick_arrivals_ = 0;
  for_each_direct_read([&](ReadOperation& operation) {
    operation.cancelled = true;
    calls::cancel_one(connection_->socket().handle(), &operation);
  });
}

// Reads that wait with a buffer.
template <class F>
void Receiver::for_each_direct_read(F&& f) {
  if (read_.busy && read_.buffer) f(read_);
  for (uint32_t i = 0; more_reads_ != nullptr && i + 1 < connection_->profile().pending_reads; ++i) {
    ReadOperation* operation = more_reads_[i].get();
    if (operation != nullptr && operation->busy && operation->buffer) f(*operation);
  }
}

// With the last count: reads whose results nobody has taken give back what they held.
void Receiver::forget_reads() {
  for_each_direct_read([&](ReadOperation&) { connection_->engine()->direct_read_ended(); });
}

}  // namespace iocp
