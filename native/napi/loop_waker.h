#pragma once
// The way of other threads into a JavaScript thread: a wake-up, and a drain in answer to it that leaves the
// event loop its turns.
//
// Node runs a thread-safe function that is called again while it runs, or while the microtasks and ticks
// behind it do, within the same turn of the event loop, and would go on like that for seconds. So the time
// of a turn is watched here; what is left when it has been used up is drained by setImmediate in the next.
//
// Opened, closed and drained on the JavaScript thread; wake() runs on any thread. No wake-up is lost: each
// one leads to a drain() that begins after it, at once or in the next turn, until close().
#include <chrono>
#include <memory>

#include <napi.h>

#include "win/sys/srw_lock.h"

namespace iocp {

class LoopWaker final {
 public:
  using Clock = std::chrono::steady_clock;
  // What one drain may take, and many short ones in one turn. One that takes longer leaves the rest with
  // go_on_later().
  static constexpr auto kTurnTime = std::chrono::milliseconds(8);

  // Whose wake-ups these are. Called on the JavaScript thread.
  class Target {
   public:
    virtual void drain(napi_env env) = 0;
    // Each wake-up, also in a turn whose time has been used up, and each turn that was waited for: until
    // a drain that goes on later, wake-ups need not come.
    virtual void woken(napi_env) {}
    // Something is left for the next turn, but nothing keeps the event loop alive: have another thread
    // call wake(), or the loop may sleep before it gets there.
    virtual void nudge() {}

   protected:
    ~Target() = default;
  };

  LoopWaker(napi_env env, Target* target) : env_(env), target_(target) {}
  LoopWaker(const LoopWaker&) = delete;
  LoopWaker& operator=(const LoopWaker&) = delete;

  // `self` shares its count with the target, which so outlives the last wake-up. `set_immediate` is Node's
  // own, not what a test may have put in its place.
  bool open(const std::shared_ptr<LoopWaker>& self, const char* name, Napi::Function set_immediate);
  // Further wake-ups do nothing. The environment has to be there still.
  void close();
  void wake();
  // In drain(): something is left.
  void go_on_later();
  void keep_loop_alive(bool alive);

 private:
  static void call_js(napi_env env, napi_value callback, void* context, void* data);
  static void finalize(napi_env env, void* data, void* hint);
  bool may_drain();
  void watch();
  void turned();

  napi_env const env_;
  Target* const target_;
  Napi::FunctionReference set_immediate_;
  Napi::FunctionReference on_turn_;
  Clock::time_point turned_at_;  // the last turn that is known of
  bool watching_ = false;        // turned() is to come
  bool goes_on_later_ = false;   // and drains then: this turn has used its time up
  bool keeps_loop_alive_ = true;
  SrwLock lock_;
  napi_threadsafe_function function_ = nullptr;  // under lock_; null once closed
};

}  // namespace iocp
