#include "core/timer_wheel.h"

namespace iocp {
namespace {

void make_empty(TimerLink& head) {
  head.next = &head;
  head.previous = &head;
}

void append(TimerLink& head, TimerLink& link) {
  link.next = &head;
  link.previous = head.previous;
  head.previous->next = &link;
  head.previous = &link;
}

void unlink(TimerLink& link) {
  link.previous->next = link.next;
  link.next->previous = link.previous;
  link.next = nullptr;
  link.previous = nullptr;
}

}  // namespace

TimerWheel::TimerWheel(uint64_t now_ms, uint32_t granularity_ms)
    : granularity_(granularity_ms == 0 ? 1 : granularity_ms), tick_(now_ms / granularity_) {
  make_empty(due_);
  for (Bucket& bucket : buckets_) {
    make_empty(bucket.head);
    bucket.first_tick = kNoTick;
  }
}

// Rounded up, so that a timer is never early; behind what was collected, so that it is not missed.
uint64_t TimerWheel::tick_after(uint64_t now_ms, uint64_t delay_ms) const {
  uint64_t deadline = now_ms + delay_ms;
  const uint64_t latest = ~0ull - granularity_;  // no overflow when it is rounded up
  if (deadline < now_ms || deadline > latest) deadline = latest;
  const uint64_t tick = deadline / granularity_ + (deadline % granularity_ != 0 ? 1 : 0);
  return tick <= tick_ ? tick_ + 1 : tick;
}

void TimerWheel::arm_sooner(Timer& timer, uint64_t now_ms, uint64_t delay_ms) {
  if (timer.armed() && timer.tick_ <= tick_after(now_ms, delay_ms)) return;
  arm(timer, now_ms, delay_ms);
}

void TimerWheel::arm(Timer& timer, uint64_t now_ms, uint64_t delay_ms) {
  cancel(timer);
  const uint64_t tick = tick_after(now_ms, delay_ms);
  timer.tick_ = tick;
  Bucket& bucket = bucket_of(tick);
  append(bucket.head, timer);
  if (tick < bucket.first_tick) bucket.first_tick = tick;
  if (tick < next_tick_) next_tick_ = tick;
  ++armed_;
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.armed()) return;
  unlink(timer);
  --armed_;
}

uint32_t TimerWheel::next_due(uint64_t now_ms) const {
  if (armed_ == 0) return kNever;
  const uint64_t due_ms = next_tick_ * granularity_;
  if (due_ms <= now_ms) return 0;
  const uint64_t wait = due_ms - now_ms;
  return wait < kNever ? static_cast<uint32_t>(wait) : kNever - 1;
}

void TimerWheel::collect_due(uint64_t now_ms) {
  const uint64_t now_tick = now_ms / granularity_;
  if (now_tick <= tick_) return;
  if (now_tick < next_tick_) {
    tick_ = now_tick;
    return;
  }
  // After a long pause every bucket is looked at once, not once per revolution.
  const uint64_t steps = now_tick - tick_ < kBuckets ? now_tick - tick_ : kBuckets;
  const uint64_t first = tick_ + 1;
  tick_ = now_tick;
  for (uint64_t step = 0; step < steps; ++step) {
    Bucket& bucket = bucket_of(first + step);
    if (bucket.first_tick <= now_tick) collect_bucket(bucket);
  }
  next_tick_ = kNoTick;
  for (const Bucket& bucket : buckets_) {
    if (bucket.first_tick < next_tick_) next_tick_ = bucket.first_tick;
  }
}

// Moves what is due to the list that pop_due() takes from; the rest is for later revolutions.
void TimerWheel::collect_bucket(Bucket& bucket) {
  bucket.first_tick = kNoTick;
  for (TimerLink* link = bucket.head.next; link != &bucket.head;) {
    Timer& timer = *static_cast<Timer*>(link);
    link = link->next;
    if (timer.tick_ <= tick_) {
      unlink(timer);
      append(due_, timer);
    } else if (timer.tick_ < bucket.first_tick) {
      bucket.first_tick = timer.tick_;
    }
  }
}

Timer* TimerWheel::pop_due() {
  if (due_.next == &due_) return nullptr;
  Timer* timer = static_cast<Timer*>(due_.next);
  unlink(*timer);
  --armed_;
  return timer;
}

}  // namespace iocp
