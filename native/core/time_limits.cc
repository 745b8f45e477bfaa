#include "core/time_limits.h"

#include <algorithm>

namespace iocp {

bool TimeWatch::decoded(uint32_t now, bool ended, Open open, uint64_t bytes_read) {
  if (open == Open::none) {
    if (packet_since_.load(std::memory_order_relaxed) != 0) packet_since_.store(0, std::memory_order_relaxed);
    return false;
  }
  const bool streamed = open == Open::streamed;
  if (streamed_.load(std::memory_order_relaxed) != streamed) streamed_.store(streamed, std::memory_order_relaxed);
  if (!ended && packet_since_.load(std::memory_order_relaxed) != 0) return false;
  first_window_.store(true, std::memory_order_relaxed);
  rate_.store(rate_of(now, static_cast<uint32_t>(bytes_read)), std::memory_order_relaxed);
  packet_since_.store(now | 1);
  return true;
}

// Later by the time that it did not read since: what began meanwhile begins now. Where the clock has been put back
// since, check() puts the time back too.
uint32_t TimeWatch::shifted(uint32_t at, uint32_t stopped, uint32_t now) {
  return elapsed(stopped, at) != 0 ? now : at + elapsed(stopped, now);
}

void TimeWatch::shift(std::atomic<uint32_t>* time, uint32_t stopped, uint32_t now) {
  const uint32_t at = time->load(std::memory_order_relaxed);
  if (at != 0) time->store(shifted(at, stopped, now) | 1, std::memory_order_relaxed);
}

bool TimeWatch::set_reading(bool on, uint32_t now, bool had_packet) {
  const uint32_t stopped = stopped_since_.load(std::memory_order_relaxed);
  if (!on) {
    if (stopped == 0) stopped_since_.store(now | 1, std::memory_order_release);
    return false;
  }
  if (stopped == 0) return false;
  // Before it counts as reading again: a check that finds it reading has to find these.
  shift(&packet_since_, stopped, now);
  if (!had_packet) shift(&opened_, stopped, now);
  // A check may move the window at the same time; then it has begun just now anyway.
  uint64_t rate = rate_.load(std::memory_order_relaxed);
  const uint32_t moved = shifted(static_cast<uint32_t>(rate >> 32), stopped, now);
  rate_.compare_exchange_strong(rate, rate_of(moved, static_cast<uint32_t>(rate)), std::memory_order_relaxed);
  read_from_.store(now | 1, std::memory_order_relaxed);
  stopped_since_.store(0);
  return true;
}

bool TimeWatch::need_check(uint32_t now, uint32_t delay) {
  const uint32_t at = (now + delay) | 1;
  const uint32_t due = next_check_.load();
  if (due != 0 && elapsed(at, due) == 0) return false;
  next_check_.store(at);
  return true;
}

// Not where somebody has written a new time meanwhile.
uint32_t TimeWatch::put_back(std::atomic<uint32_t>* time, uint32_t now) {
  uint32_t at = time->load();
  if (at == 0 || !is_ahead(at, now)) return at;
  return time->compare_exchange_strong(at, now | 1) ? now | 1 : at;
}

Expiry TimeWatch::check_rate(const TimeLimits& limits, uint32_t now, uint64_t bytes_read, uint32_t* next) {
  uint64_t rate = rate_.load(std::memory_order_relaxed);
  const uint32_t length =
      limits.min_rate_per + (first_window_.load(std::memory_order_relaxed) ? limits.min_rate_grace : 0);
  const auto since = static_cast<uint32_t>(rate >> 32);
  const bool ahead = is_ahead(since, now);
  if (!ahead && elapsed(since, now) < length) {
    *next = (std::min)(*next, length - elapsed(since, now));
    return Expiry::none;
  }
  const auto bytes = static_cast<uint32_t>(bytes_read);
  if (!ahead && bytes - static_cast<uint32_t>(rate) < limits.min_rate_bytes) return Expiry::min_rate;
  // Unless another packet has begun meanwhile, with a window of its own.
  const bool moved = rate_.compare_exchange_strong(rate, rate_of(now, bytes), std::memory_order_relaxed);
  if (moved && !ahead) first_window_.store(false, std::memory_order_relaxed);
  *next = (std::min)(*next, ahead ? length : limits.min_rate_per);
  return Expiry::none;
}

Expiry TimeWatch::confirm(Expiry expired, uint32_t now, uint32_t* next) {
  const auto low = static_cast<uint16_t>(now);
  if (expired == Expiry::none || suspected_.load(std::memory_order_relaxed) != expired) {
    suspected_ms_.store(low, std::memory_order_relaxed);
    suspected_.store(expired, std::memory_order_relaxed);
  } else if (static_cast<uint16_t>(low - suspected_ms_.load(std::memory_order_relaxed)) >= kConfirmMs) {
    return expired;
  }
  if (expired != Expiry::none) *next = (std::min)(*next, kConfirmMs);
  return Expiry::none;
}

TimeWatch::Check TimeWatch::check(const TimeLimits& limits, uint32_t now, uint32_t age,
                                  std::atomic<uint32_t>* last_read, uint64_t bytes_read, bool had_packet) {
  Check result;
  Expiry expired = Expiry::none;
  const auto look = [&](uint32_t limit, uint32_t since, Expiry what) {
    if (limit == 0) return;
    const uint32_t passed = elapsed(since, now);
    if (passed < limit) {
      result.next = (std::min)(result.next, limit - passed);
    } else if (expired == Expiry::none) {
      expired = what;
    }
  };
  const uint32_t previous = last_check_.exchange(now, std::memory_order_relaxed);
  // An idle limit passes again and again while the silence lasts: has it since the last check?
  const auto look_idle = [&](uint32_t limit, uint32_t since, Expiry what, uint32_t* times) {
    if (limit == 0) return;
    if (limits.idle_closes) return look(limit, since, what);
    const uint32_t passed = elapsed(since, now);
    if (passed / limit > elapsed(since, previous) / limit) *times = passed / limit;
    result.next = (std::min)(result.next, limit - passed % limit);
  };

  const bool reads = stopped_since_.load(std::memory_order_acquire) == 0;
  const uint32_t opened = put_back(&opened_, now);
  if (limits.life != 0) {
    if (age < limits.life) {
      result.next = limits.life - age;
    } else {
      result.life_over = age - limits.life + 1;
    }
  }
  if (const uint32_t since = put_back(&write_since_, now)) look(limits.send_stall, since, Expiry::send_stall);
  if (reads) {
    if (!had_packet) look(limits.first_packet, opened, Expiry::first_packet);
    if (const uint32_t since = put_back(&packet_since_, now)) {
      if (!streamed_.load(std::memory_order_relaxed)) look(limits.packet, since, Expiry::packet);
      if (limits.min_rate_bytes != 0 && expired == Expiry::none) {
        expired = check_rate(limits, now, bytes_read, &result.next);
      }
    }
  }
  const bool ended = peer_ended_.load(std::memory_order_relaxed);
  const uint32_t written = put_back(&last_write_, now);
  if (reads) {
    uint32_t heard = later_of(opened, put_back(last_read, now));
    if (const uint32_t from = put_back(&read_from_, now)) heard = later_of(heard, from);
    if (!ended) look_idle(limits.idle_read, heard, Expiry::idle_read, &result.idle_read);
    look_idle(limits.idle_both, ended ? written : later_of(heard, written), Expiry::idle_both, &result.idle_both);
  }
  look_idle(limits.idle_write, written, Expiry::idle_write, &result.idle_write);
  if (expired == Expiry::none) grants_.store(0, std::memory_order_relaxed);
  result.expired = confirm(expired, now, &result.next);
  return result;
}

}  // namespace iocp
