// How a connection waits for its peer: with a buffer while packets come in quick succession (`hot_`), else without.
// Receiving strand.
#include <utility>

#include "win/connection/connection.h"

namespace iocp {
namespace {

constexpr uint8_t kHotStreak = 4;         // so many arrivals...
constexpr uint32_t kQuickMs = 1000;       // ...each within this time of the one before...
constexpr uint32_t kQuickMsOfMany = 100;  // ...when many connections wait with a buffer
constexpr uint32_t kCoolCheckMs = 2000;   // a hot connection without arrivals for so long is idle

}  // namespace

// Quick successions make a connection hot; a pause makes it idle again (cool()).
void Connection::note_arrival() {
  read_retries_ = 0;
  if (profile_->read_mode != ReadMode::adaptive) return;
  if (std::exchange(greeting_, false)) hot_ = false;  // whether it is busy remains to be seen
  const uint32_t now = engine_->coarse_ms();
  const uint32_t limit = engine_->few_direct_reads() ? kQuickMs : kQuickMsOfMany;
  const bool quick = now - last_arrival_ms_ <= limit;
  last_arrival_ms_ = now;
  if (!quick) {
    streak_ = 0;
    hot_ = false;
    return;
  }
  if (hot_ || ++streak_ < kHotStreak) return;
  hot_ = true;
  engine_->arm(cool_timer_, kCoolCheckMs);
}

// Most peers speak as soon as they are connected. So a new connection waits for their first words with a
// buffer, unless it turns out to be quiet.
void Connection::warm_up() {
  if (profile_->read_mode != ReadMode::adaptive || !engine_->few_new_reads()) return;
  hot_ = true;
  greeting_ = true;
  last_arrival_ms_ = engine_->coarse_ms();
  engine_->arm(cool_timer_, kCoolCheckMs);
}

// Is a hot connection still busy? If not, its reads with a buffer are taken back. Cancelling is
// advice only: the packet says what came of it, and a read that was faster counts as a read.
void Connection::cool() {
  // Whoever sets it asks for a run afterwards, so none is missed.
  if (!cool_check_.load(std::memory_order_relaxed) || !cool_check_.exchange(false)) return;
  bool direct = false;
  for_each_direct_read([&](ReadOperation&) { direct = true; });
  if (!hot_ && !direct) return;
  if (engine_->coarse_ms() - last_arrival_ms_ < kCoolCheckMs / 2) {
    return engine_->arm(cool_timer_, kCoolCheckMs);
  }
  hot_ = false;
  streak_ = 0;
  for_each_direct_read([&](ReadOperation& operation) {
    operation.cancelled = true;
    CancelIoEx(socket_.handle(), &operation);
  });
}

// Reads that wait with a buffer.
template <class F>
void Connection::for_each_direct_read(F&& f) {
  if (read_.busy && read_.buffer) f(read_);
  for (uint32_t i = 0; more_reads_ != nullptr && i + 1 < profile_->pending_reads; ++i) {
    ReadOperation* operation = more_reads_[i].get();
    if (operation != nullptr && operation->busy && operation->buffer) f(*operation);
  }
}

// With the last count: reads whose results nobody has taken give back what they held.
void Connection::forget_reads() {
  for_each_direct_read([&](ReadOperation&) { engine_->direct_read_ended(); });
}

}  // namespace iocp
