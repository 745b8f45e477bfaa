#include "core/time_limits.h"

#include <algorithm>

namespace iocp {

uint32_t TimeWatch::decoded(const TimeLimits& limits, uint32_t now, bool whole, Open open, uint64_t bytes_read) {
  if ((whole || open == Open::streamed) && !had_packet_.load(std::memory_order_relaxed)) {
    had_packet_.store(true, std::memory_order_relaxed);
  }
  if (open == Open::none) {
    if (packet_since_.load(std::memory_order_relaxed) != 0) packet_since_.store(0, std::memory_order_relaxed);
    return kNever;
  }
  const bool streamed = open == Open::streamed;
  if (streamed_.load(std::memory_order_relaxed) != streamed) streamed_.store(streamed, std::memory_order_relaxed);
  if (!whole && packet_since_.load(std::memory_order_relaxed) != 0) return kNever;
  first_window_.store(true, std::memory_order_relaxed);
  rate_.store(rate_of(now, static_cast<uint32_t>(bytes_read)), std::memory_order_relaxed);
  packet_since_.store(now | 1);
  uint32_t soon = kNever;
  if (limits.packet != 0 && !streamed) soon = limits.packet;
  if (limits.min_rate_bytes != 0) soon = (std::min)(soon, limits.min_rate_grace + limits.min_rate_per);
  return soon;
}

bool TimeWatch::set_reading(bool on, uint32_t now) {
  const uint32_t stopped = stopped_since_.load(std::memory_order_relaxed);
  if (!on) {
    if (stopped == 0) stopped_since_.store(now | 1, std::memory_order_release);
    return false;
  }
  if (stopped == 0) return false;
  // Before it counts as reading again: a check that finds it reading has to find these.
  const uint32_t gap = elapsed(stopped, now);
  shift(packet_since_, gap);
  if (!had_packet_.load(std::memory_order_relaxed)) shift(opened_, gap);
  // A check may move the window at the same time; then it has begun just now anyway.
  uint64_t rate = rate_.load(std::memory_order_relaxed);
  const uint64_t moved = rate_of(static_cast<uint32_t>(rate >> 32) + gap, static_cast<uint32_t>(rate));
  rate_.compare_exchange_strong(rate, moved, std::memory_order_relaxed);
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
  if (at == 0 || now - at <= 0x7FFFFFFFu) return at;
  return time->compare_exchange_strong(at, now | 1) ? now | 1 : at;
}

Expiry TimeWatch::check_rate(const TimeLimits& limits, uint32_t now, uint64_t bytes_read, uint32_t* next) {
  uint64_t rate = rate_.load(std::memory_order_relaxed);
  const uint32_t length =
      limits.min_rate_per + (first_window_.load(std::memory_order_relaxed) ? limits.min_rate_grace : 0);
  const auto since = static_cast<uint32_t>(rate >> 32);
  const uint32_t passed = now - since > 0x7FFFFFFFu ? length : elapsed(since, now);
  if (passed < length) {
    *next = (std::min)(*next, length - passed);
    return Expiry::none;
  }
  const auto bytes = static_cast<uint32_t>(bytes_read);
  if (elapsed(since, now) >= length && bytes - static_cast<uint32_t>(rate) < limits.min_rate_bytes) {
    return Expiry::min_rate;
  }
  // Unless another packet has begun meanwhile, with a window of its own.
  if (rate_.compare_exchange_strong(rate, rate_of(now, bytes), std::memory_order_relaxed)) {
    first_window_.store(false, std::memory_order_relaxed);
  }
  *next = (std::min)(*next, limits.min_rate_per);
  return Expiry::none;
}

TimeWatch::Check TimeWatch::check(const TimeLimits& limits, uint32_t now, std::atomic<uint32_t>* last_read,
                                  uint64_t bytes_read) {
  Check result;
  const auto look = [&](uint32_t limit, uint32_t since, Expiry what) {
    if (limit == 0 || result.expired != Expiry::none) return;
    const uint32_t passed = elapsed(since, now);
    if (passed >= limit) {
      result.expired = what;
    } else {
      result.next = (std::min)(result.next, limit - passed);
    }
  };
  const uint32_t previous = last_check_.exchange(now, std::memory_order_relaxed);
  // An idle limit passes again and again while the silence lasts: has it since the last check?
  const auto look_idle = [&](uint32_t limit, uint32_t since, Expiry what) {
    if (limit == 0 || result.expired != Expiry::none) return;
    const uint32_t times = elapsed(since, now) / limit;
    if (times > (limits.idle_closes ? 0 : elapsed(since, previous) / limit)) {
      result.expired = what;
      result.idle_times = times;
    }
    result.next = (std::min)(result.next, limit - elapsed(since, now) % limit);
  };

  const bool reads = stopped_since_.load(std::memory_order_acquire) == 0;
  const uint32_t opened = put_back(&opened_, now);
  look(limits.life, opened, Expiry::life);
  if (const uint32_t since = put_back(&write_since_, now)) look(limits.send_stall, since, Expiry::send_stall);
  if (reads) {
    if (!had_packet_.load(std::memory_order_relaxed)) look(limits.first_packet, opened, Expiry::first_packet);
    if (const uint32_t since = put_back(&packet_since_, now)) {
      if (!streamed_.load(std::memory_order_relaxed)) look(limits.packet, since, Expiry::packet);
      if (limits.min_rate_bytes != 0 && result.expired == Expiry::none) {
        result.expired = check_rate(limits, now, bytes_read, &result.next);
      }
    }
  }
  const uint32_t written = later_of(opened, put_back(&last_write_, now));
  if (reads) {
    uint32_t heard = later_of(opened, put_back(last_read, now));
    if (const uint32_t from = put_back(&read_from_, now)) heard = later_of(heard, from);
    look_idle(limits.idle_read, heard, Expiry::idle_read);
    look_idle(limits.idle_both, later_of(heard, written), Expiry::idle_both);
  }
  look_idle(limits.idle_write, written, Expiry::idle_write);
  return result;
}

}  // namespace iocp
