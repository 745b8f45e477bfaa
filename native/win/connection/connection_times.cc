// Time limits of a connection: one timer for the nearest of them, which it shares with the upkeep of its receiver.
#include <algorithm>
#include <memory>
#include <mutex>

#include "core/error_table.h"
#include "win/connection/connection.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// Bytes of the peer are there and have not been read: it is not late, this side is.
constexpr uint32_t kReadFirstMs = 50;
constexpr uint32_t kReadsMs = 2 * kReadFirstMs;
// While so much waits for JavaScript, which is behind, it is not told of silence on top of that.
constexpr uint64_t kMaxPendingBytes = 1024 * 1024;
// A life is up to so much longer or shorter, so that connections that began together do not end together.
constexpr uint32_t kLifeSpreadPerMille = 100;
// So long the program has to end a connection whose life is over.
constexpr uint32_t kLifeGraceMs = 2000;

uint32_t with_spread(uint32_t life, ConnectionId id) {
  const uint64_t hash = (uint64_t{id.generation} << 32 | id.slot) * 0x9E3779B97F4A7C15u;
  const auto permille = static_cast<uint32_t>((hash >> 32) % (2 * kLifeSpreadPerMille + 1));
  const uint64_t spread = uint64_t{life} * (1000 - kLifeSpreadPerMille + permille) / 1000;
  return static_cast<uint32_t>((std::min)(spread, uint64_t{TimeLimits::kLongest}));
}

bool judges_what_is_read(Expiry expired) {
  return expired == Expiry::first_packet || expired == Expiry::packet || expired == Expiry::min_rate ||
         expired == Expiry::idle_read || expired == Expiry::idle_both;
}

CloseCause cause_of(Expiry expired) {
  switch (expired) {
    case Expiry::first_packet:
      return CloseCause::first_packet_timeout;
    case Expiry::packet:
      return CloseCause::packet_timeout;
    case Expiry::min_rate:
      return CloseCause::too_slow;
    case Expiry::send_stall:
      return CloseCause::send_timeout;
    default:
      return CloseCause::idle_timeout;
  }
}

}  // namespace

// Before others know of the connection, when it is announced, or on the JavaScript thread.
void Connection::start_watch(const TimeLimits& limits) {
  born_ms_ = engine_->watch_ms64();
  auto watch = std::make_unique<TimeWatch>(engine_->watch_ms());
  watch->set_limits_writes(limits.send_stall != 0);
  // A write that has begun before is seen to end from here on: both happen under the lock.
  std::lock_guard<SrwLock> guard(lock_);
  if (sender_.writes_locked()) watch->write_begins(engine_->watch_ms());
  watch_.store(watch.release(), std::memory_order_release);
}

TimeLimits Connection::time_limits() {
  TimeLimits limits = profile_->time_limits;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (changed_limits_ != nullptr) limits = *changed_limits_;
    if (end_.requested) limits.life = 0;
  }
  if (limits.life != 0) limits.life = with_spread(limits.life, id_);
  return limits;
}

void Connection::set_time_limits(const TimeLimits& limits) {
  {
    auto changed = std::make_unique<TimeLimits>(limits);
    std::lock_guard<SrwLock> guard(lock_);
    changed_limits_.swap(changed);
    // A life that was over may not be any more.
    if (!end_.requested && end_.cause == CloseCause::max_life) end_.cause = CloseCause::none;
  }
  if (TimeWatch* watched = watch()) {
    watched->set_limits_writes(limits.send_stall != 0);
  } else if (limits.any()) {
    start_watch(limits);
  } else {
    return;
  }
  request(kUpkeep);
}

void Connection::check_times_in(uint32_t delay_ms) {
  if (watch()->need_check(engine_->watch_ms(), delay_ms)) arm_upkeep(delay_ms);
}

bool Connection::has_unread_bytes() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (!socket_.enter()) return false;
  }
  const bool has = calls::unread_bytes(socket_.get()) != 0;
  leave();
  return has;
}

void Connection::tell_time_event(TimeEvent event, uint32_t times) {
  engine_->report(RecordKind::time_limit, id_, static_cast<uint32_t>(event), times);
}

// The program ends it behind what it is about to send, and behind files that are under way. It may not come to that.
uint32_t Connection::end_life(uint32_t over_ms, uint32_t deadline_ms) {
  bool tell = false;
  bool ends = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing() || end_.requested) return TimeWatch::kNever;
    tell = end_.cause != CloseCause::max_life;
    end_.cause = CloseCause::max_life;
    ends = !tell && over_ms > kLifeGraceMs && !end_.held && begin_end_locked(CloseCause::max_life, deadline_ms);
  }
  // However much waits: it comes once.
  if (tell) tell_time_event(TimeEvent::life, 0);
  if (ends) request(kEnd);
  return ends ? TimeWatch::kNever : over_ms > kLifeGraceMs ? kLifeGraceMs : kLifeGraceMs - over_ms + 1;
}

void Connection::check_times() {
  TimeWatch* const watched = watch();
  if (watched == nullptr) return;
  watched->begin_check();
  const TimeLimits limits = time_limits();
  const uint32_t now = engine_->watch_ms();
  // The clock may have been put back.
  const uint64_t lived = engine_->watch_ms64() - born_ms_;
  const uint64_t age = lived > INT64_MAX ? 0 : (std::min)(lived, uint64_t{UINT32_MAX - 1});
  const TimeWatch::Check check = watched->check(limits, now, static_cast<uint32_t>(age), receiver_.last_read_ms(),
                                                receiver_.bytes_read(), receiver_.had_packet());
  uint32_t next = check.next;
  const bool behind = engine_->delivery().pending_bytes() > kMaxPendingBytes;
  if (!behind) {
    if (check.idle_read != 0) tell_time_event(TimeEvent::idle_read, check.idle_read);
    if (check.idle_write != 0) tell_time_event(TimeEvent::idle_write, check.idle_write);
    if (check.idle_both != 0) tell_time_event(TimeEvent::idle_both, check.idle_both);
  }
  if (check.life_over != 0) next = (std::min)(next, end_life(check.life_over, limits.life_end));
  if (check.expired != Expiry::none) {
    const bool reads = TimeWatch::elapsed(receiver_.last_read_ms()->load(), now) < kReadsMs;
    if (!judges_what_is_read(check.expired) || !has_unread_bytes() || watched->is_late_anyway(reads)) {
      const bool idle = cause_of(check.expired) == CloseCause::idle_timeout;
      if (close(cause_of(check.expired), kWsaEtimedout, !idle)) engine_->count(Counter::timeouts, 1);
      return;
    }
    next = (std::min)(next, kReadFirstMs);
  }
  if (next != TimeWatch::kNever) check_times_in(next);
}

}  // namespace iocp
