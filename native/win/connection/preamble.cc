#include "win/connection/preamble.h"

#include <mutex>
#include <utility>

#include "win/connection/connection.h"

namespace iocp {

namespace {

// Bytes of the peer are there and have not been read: this side is late. So often, since one that sends a byte now and
// then has some there too.
constexpr uint32_t kReadFirstMs = 50;
constexpr uint32_t kMaxGrants = 20;
// It waits for the program, which is behind.
constexpr uint32_t kParkedMs = 250;

}  // namespace

void Preamble::begin(Connection* connection) {
  connection_ = connection;
  since_ms_ = connection->engine()->watch_ms();
  arm(timeout_ms_);
}

// The timer may arm itself while the strand ends it, but not behind that.
void Preamble::arm(uint32_t delay_ms) {
  std::lock_guard<SrwLock> guard(lock_);
  if (!ended_) connection_->engine()->arm(timer_, delay_ms);
}

void Preamble::end() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    ended_ = true;
  }
  connection_->engine()->cancel(timer_);
}

bool Preamble::TimerCounts::hold(Preamble* preamble) {
  if (!preamble->connection_->try_add_ref()) return false;
  preamble->add_ref();
  return true;
}

void Preamble::TimerCounts::let_go(Preamble* preamble) {
  const Ref<Connection> connection = Ref<Connection>::adopt(preamble->connection_);
  preamble->release();
}

void Preamble::time_out() {
  const uint32_t passed = TimeWatch::elapsed(since_ms_, connection_->engine()->watch_ms());
  if (passed < timeout_ms_) return arm(timeout_ms_ - passed);
  if (connection_->receiver().is_parked()) {
    suspected_ = false;
    return arm(kParkedMs);
  }
  if (grants_ < kMaxGrants && connection_->has_unread_bytes()) {
    ++grants_;
    return arm(kReadFirstMs);
  }
  // Its bytes may be on their way to the strand.
  if (!std::exchange(suspected_, true)) return arm(kReadFirstMs);
  connection_->refuse_if_undecided(timeout_);
}

}  // namespace iocp
