#pragma once
// What the timers of an IoContext call when they are due.
#include <cstdint>

#include "core/timer_wheel.h"

namespace iocp {

// Embedded in the object that waits. The wheel's lock guards the time between being due and being
// held, so an owner that cancels before it is freed is never called afterwards.
class EngineTimer : public Timer {
 public:
  // With the wheel locked: takes a count on the owner; false when the owner is on its way out.
  virtual bool hold() = 0;
  // On an I/O thread, without a lock; gives the count back.
  virtual void fire() = 0;

 protected:
  EngineTimer() = default;
  ~EngineTimer() = default;
};

// The count that a timer takes on its owner.
struct TimerHold {
  template <class Owner>
  static bool hold(Owner* owner) {
    return owner->try_add_ref();
  }
  template <class Owner>
  static void let_go(Owner* owner) {
    owner->release();
  }
};

// For an owner that cancels the timer, and lets what has been due come to its end, before it goes.
struct NoTimerHold {
  template <class Owner>
  static bool hold(Owner*) {
    return true;
  }
  template <class Owner>
  static void let_go(Owner*) {}
};

// Calls a method of the object that it is a member of.
template <class Owner, void (Owner::*due)(), class Hold = TimerHold>
class MemberTimer final : public EngineTimer {
 public:
  explicit MemberTimer(Owner* holder) : owner_(holder) {}
  bool hold() override { return Hold::hold(owner_); }
  void fire() override {
    Owner* const held = owner_;  // the timer may go with its owner
    (held->*due)();
    Hold::let_go(held);
  }

 private:
  Owner* const owner_;
};

}  // namespace iocp
