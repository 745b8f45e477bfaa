#pragma once
#include <cstdint>

#include "core/timer_wheel.h"
#include "win/sys/srw_lock.h"

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

}  // namespace iocp
