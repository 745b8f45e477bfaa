#pragma once
// Slim reader/writer lock with the standard's names, so that std::lock_guard and std::shared_lock fit.
// One pointer large and constant-initialised: a connection can afford one.
#include "win/sys/win.h"

namespace iocp {

class SrwLock {
 public:
  SrwLock() = default;
  SrwLock(const SrwLock&) = delete;
  SrwLock& operator=(const SrwLock&) = delete;

  void lock() { AcquireSRWLockExclusive(&lock_); }
  bool try_lock() { return TryAcquireSRWLockExclusive(&lock_) != FALSE; }
  void unlock() { ReleaseSRWLockExclusive(&lock_); }
  void lock_shared() { AcquireSRWLockShared(&lock_); }
  void unlock_shared() { ReleaseSRWLockShared(&lock_); }

  // For condition variables.
  SRWLOCK* native() { return &lock_; }

 private:
  SRWLOCK lock_ = SRWLOCK_INIT;
};

class Condition {
 public:
  // The caller holds `lock` exclusively. Wakes may be spurious.
  void wait(SrwLock& lock) { SleepConditionVariableSRW(&condition_, lock.native(), INFINITE, 0); }
  // False when the time was over first.
  bool wait_for(SrwLock& lock, DWORD milliseconds) {
    return SleepConditionVariableSRW(&condition_, lock.native(), milliseconds, 0) != FALSE;
  }
  void notify_one() { WakeConditionVariable(&condition_); }
  void notify_all() { WakeAllConditionVariable(&condition_); }

 private:
  CONDITION_VARIABLE condition_ = CONDITION_VARIABLE_INIT;
};

}  // namespace iocp
