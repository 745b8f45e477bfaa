#include "napi/loop_waker.h"

#include <mutex>
#include <utility>

namespace iocp {
namespace {

// How seldom it is looked whether the event loop turns.
constexpr auto kWatchInterval = std::chrono::milliseconds(4);

}  // namespace

bool LoopWaker::open(const std::shared_ptr<LoopWaker>& self, const char* name, Napi::Function set_immediate) {
  const Napi::Env env(env_);
  const auto hold = [](Napi::FunctionReference& reference, Napi::Function value) {
    reference = Napi::Persistent(value);
    reference.SuppressDestruct();  // given back in close(), on the JavaScript thread
  };
  hold(set_immediate_, set_immediate);
  // An immediate may still be due when this has closed.
  hold(on_turn_, Napi::Function::New(env, [weak = std::weak_ptr<LoopWaker>(self)](const Napi::CallbackInfo&) {
         if (const std::shared_ptr<LoopWaker> alive = weak.lock()) alive->turned();
       }));
  auto* held = new std::shared_ptr<LoopWaker>(self);
  napi_threadsafe_function function = nullptr;
  const napi_status status = napi_create_threadsafe_function(
      env_, on_turn_.Value(), nullptr, Napi::String::New(env_, name), 0, 1, held, &finalize, held, &call_js, &function);
  if (status != napi_ok) {
    delete held;
    close();
    return false;
  }
  std::lock_guard<SrwLock> guard(lock_);
  function_ = function;
  return true;
}

void LoopWaker::close() {
  set_immediate_.Reset();
  on_turn_.Reset();
  napi_threadsafe_function function = nullptr;
  {
    std::lock_guard<SrwLock> guard(lock_);
    function = std::exchange(function_, nullptr);
  }
  if (function != nullptr) (void)napi_release_threadsafe_function(function, napi_tsfn_abort);
}

void LoopWaker::finalize(napi_env, void* data, void*) { delete static_cast<std::shared_ptr<LoopWaker>*>(data); }

void LoopWaker::wake() {
  // The lock keeps close() from giving the function back meanwhile. The call puts a message into the
  // event loop and does nothing else; napi_closing means that the environment goes, and its cleanup hook
  // closes this.
  std::lock_guard<SrwLock> guard(lock_);
  if (function_ == nullptr) return;
  (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void LoopWaker::keep_loop_alive(bool alive) {
  if (function_ == nullptr) return;
  keeps_loop_alive_ = alive;
  (void)(alive ? napi_ref_threadsafe_function(env_, function_) : napi_unref_threadsafe_function(env_, function_));
}

void LoopWaker::call_js(napi_env env, napi_value callback, void* context, void*) {
  if (env == nullptr || callback == nullptr) return;
  const std::shared_ptr<LoopWaker> self = *static_cast<std::shared_ptr<LoopWaker>*>(context);
  if (self->on_turn_.IsEmpty()) return;  // closed
  self->target_->woken(env);
  if (self->may_drain()) self->target_->drain(env);
}

bool LoopWaker::may_drain() {
  if (goes_on_later_) return false;
  const Clock::time_point now = Clock::now();
  if (watching_) {
    goes_on_later_ = now - turned_at_ >= kTurnTime;
  } else if (now - turned_at_ >= kWatchInterval) {
    turned_at_ = now;
    watch();
  }
  return !goes_on_later_;
}

void LoopWaker::go_on_later() {
  goes_on_later_ = true;
  watch();
}

// The event loop has turned.
void LoopWaker::turned() {
  watching_ = false;
  turned_at_ = Clock::now();
  if (on_turn_.IsEmpty()) return;  // closed
  target_->woken(env_);
  if (std::exchange(goes_on_later_, false)) target_->drain(env_);
}

// Has turned() called in the next turn of the event loop.
void LoopWaker::watch() {
  if (std::exchange(watching_, true)) return;
  Napi::HandleScope scope(env_);
  napi_value argument = on_turn_.Value();
  napi_value receiver = Napi::Env(env_).Global();
  napi_value immediate = nullptr;
  if (napi_call_function(env_, receiver, set_immediate_.Value(), 1, &argument, &immediate) == napi_ok) {
    if (keeps_loop_alive_) return;
    // It must not keep the event loop alive either.
    napi_value unref = nullptr;
    if (napi_get_named_property(env_, immediate, "unref", &unref) == napi_ok &&
        napi_call_function(env_, immediate, unref, 0, nullptr, nullptr) == napi_ok) {
      return target_->nudge();
    }
  }
  // Only while the environment is being torn down.
  napi_value error = nullptr;
  (void)napi_get_and_clear_last_exception(env_, &error);
}

}  // namespace iocp
