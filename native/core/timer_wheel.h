#pragma once
// Hashed timer wheel: arming and cancelling cost a few pointers, whatever the number of timers.
//
// Externally synchronised. Milliseconds come from any clock that never goes back. A timer is never
// early, and late by at most one granule beyond the moment advance() is called.
//
// Idle timeouts must not touch the wheel for every packet. Keep the time of the last activity in
// the connection and arm the timer once; when it is due, look whether the connection was active
// meanwhile and, if so, arm it again for what is left:
//
//   void on_due(Timer& timer) {
//     const uint64_t idle = now - connection.last_activity;
//     if (idle >= limit) close(); else wheel.arm(timer, now, limit - idle);
//   }
//
// Several deadlines of one connection share one timer in the same way, armed for the nearest one.
#include <cstddef>
#include <cstdint>

namespace iocp {

struct TimerLink {
  TimerLink* next = nullptr;
  TimerLink* previous = nullptr;
};

// Lives inside what it is for. Must be cancelled, or have fired, before its memory goes.
class Timer : private TimerLink {
 public:
  explicit Timer(void* timer_owner = nullptr) : owner(timer_owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  bool armed() const { return next != nullptr; }

  void* owner;  // for whoever handles it; the wheel does not look at it

 private:
  friend class TimerWheel;
  uint64_t tick_ = 0;  // when it is due, in granules
};

class TimerWheel {
 public:
  static constexpr uint32_t kNever = 0xFFFFFFFFu;  // the value of Win32's INFINITE

  explicit TimerWheel(uint64_t now_ms, uint32_t granularity_ms = 32);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Due after `delay_ms`, and in a later advance() than one that is going on. A timer that is armed
  // already is armed anew.
  void arm(Timer& timer, uint64_t now_ms, uint64_t delay_ms);
  // The same, unless it is due by then anyway.
  void arm_sooner(Timer& timer, uint64_t now_ms, uint64_t delay_ms);
  // After it the timer does not fire any more, even if it is due in the advance() that is going on.
  void cancel(Timer& timer);

  // Calls on_due(Timer&) for every timer that is due; it is not armed any more then. The callback
  // may arm and cancel timers, itself included, and may free the one it was called for.
  template <class F>
  void advance(uint64_t now_ms, F&& on_due) {
    collect_due(now_ms);
    while (Timer* timer = pop_due()) on_due(*timer);
  }

  // How long a thread may sleep before it has to call advance(); kNever when nothing is armed. May
  // be too short after a cancel(), never too long.
  uint32_t next_due(uint64_t now_ms) const;

  size_t size() const { return armed_; }

 private:
  static constexpr uint32_t kBuckets = 256;
  static constexpr uint64_t kNoTick = ~0ull;

  struct Bucket {
    TimerLink head;       // circular
    uint64_t first_tick;  // no timer in here is due before; may be too low after a cancel
  };

  uint64_t tick_after(uint64_t now_ms, uint64_t delay_ms) const;
  Bucket& bucket_of(uint64_t tick) { return buckets_[tick % kBuckets]; }
  void collect_due(uint64_t now_ms);
  void collect_bucket(Bucket& bucket);
  Timer* pop_due();

  const uint32_t granularity_;
  uint64_t tick_;                 // everything up to here has been collected
  uint64_t next_tick_ = kNoTick;  // nothing is due before; may be too low after a cancel
  size_t armed_ = 0;
  TimerLink due_;  // collected by advance(), callback still to come; circular
  Bucket buckets_[kBuckets];
};

}  // namespace iocp
