#include "napi/delivery_bridge.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace iocp {
namespace {

// A drain that takes longer gives the event loop a turn and goes on in the next one. So do many short
// ones, with what JavaScript does after each, when Node runs them in one turn.
constexpr auto kDrainTime = std::chrono::milliseconds(8);
// How seldom it is looked whether the event loop turns.
constexpr auto kWatchInterval = std::chrono::milliseconds(4);
constexpr size_t kDrainBytes = 8 * 1024 * 1024;
// From here on handing the block over is cheaper than copying it.
constexpr size_t kExternalBytes = 24 * 1024;

void free_block(napi_env, void* data, void*) { std::free(data); }

}  // namespace

bool DeliveryBridge::open(Napi::Function on_batch, Napi::Function set_immediate,
                          Napi::Uint32Array control) {
  const Napi::Env env(env_);
  const auto hold = [](auto& reference, auto value) {
    reference = Napi::Persistent(value);
    reference.SuppressDestruct();  // given back in close(), on the JavaScript thread
  };
  hold(control_, control);
  hold(on_batch_, on_batch);
  hold(set_immediate_, set_immediate);
  control_words_ = control.Data();
  // An immediate may still be due when the bridge has closed.
  const std::weak_ptr<DeliveryBridge> weak = weak_from_this();
  hold(go_on_, Napi::Function::New(env, [weak](const Napi::CallbackInfo& info) {
    if (const std::shared_ptr<DeliveryBridge> self = weak.lock()) self->turned(info.Env());
  }));
  auto* self = new std::shared_ptr<DeliveryBridge>(shared_from_this());
  const napi_status status = napi_create_threadsafe_function(
      env_, on_batch, nullptr, Napi::String::New(env_, "iocp"), 0, 1, self, &finalize, self,
      &call_js, &function_);
  if (status == napi_ok) return true;
  delete self;
  return false;
}

void DeliveryBridge::close() {
  engine_ = nullptr;
  release_pins(env_);
  control_.Reset();
  on_batch_.Reset();
  set_immediate_.Reset();
  go_on_.Reset();
  if (function_ != nullptr) {
    (void)napi_release_threadsafe_function(std::exchange(function_, nullptr), napi_tsfn_abort);
  }
}

void DeliveryBridge::finalize(napi_env, void* data, void*) {
  delete static_cast<std::shared_ptr<DeliveryBridge>*>(data);
}

void DeliveryBridge::keep_loop_alive(bool alive) {
  if (function_ == nullptr) return;
  keeps_loop_alive_ = alive;
  (void)(alive ? napi_ref_threadsafe_function(env_, function_)
               : napi_unref_threadsafe_function(env_, function_));
}

void DeliveryBridge::wake() {
  // Its own queue has no bound, but at most one wake-up of ours is in it. napi_closing: the
  // environment goes, and its cleanup hook waits for the engine. None after close().
  if (function_ == nullptr) return;
  (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void DeliveryBridge::call_js(napi_env env, napi_value callback, void* context, void*) {
  if (env == nullptr || callback == nullptr) return;
  const std::shared_ptr<DeliveryBridge> self =
      *static_cast<std::shared_ptr<DeliveryBridge>*>(context);
  self->release_pins(env);
  if (self->may_drain(env)) self->drain(env);
}

// Node calls again within the same turn when it is woken while it is here or runs the microtasks and
// ticks that follow, and would go on like that for seconds.
bool DeliveryBridge::may_drain(napi_env env) {
  if (goes_on_later_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (watching_) {
    goes_on_later_ = now - turned_at_ >= kDrainTime;
  } else if (now - turned_at_ >= kWatchInterval) {
    turned_at_ = now;
    watch(env);
  }
  return !goes_on_later_;
}

// The event loop has turned.
void DeliveryBridge::turned(napi_env env) {
  watching_ = false;
  turned_at_ = std::chrono::steady_clock::now();
  release_pins(env);  // as long as a drain goes on later, nobody wakes this thread for them
  if (std::exchange(goes_on_later_, false)) drain(env);
}

void DeliveryBridge::drain(napi_env env) {
  if (engine_ == nullptr) return;
  const auto begun = std::chrono::steady_clock::now();
  size_t bytes = 0;
  engine_->count(Counter::wakes, 1);
  for (;;) {
    std::unique_ptr<DeliveryChunk> chunk = engine_->delivery().take();
    if (chunk == nullptr) {
      if (engine_->delivery().end_drain()) continue;
      return release_pins(env);  // nobody woke this thread for those that came while it drained
    }
    const auto now = std::chrono::steady_clock::now();
    if (bytes >= kDrainBytes || now - begun >= kDrainTime) {
      engine_->delivery().put_back(std::move(chunk));
      goes_on_later_ = true;
      return watch(env);
    }
    note_batch(*chunk, now);
    const size_t cost = chunk->cost();
    bytes += cost;
    const bool go_on = hand_over(env, chunk.get());
    if (engine_ == nullptr) return;  // the callback has seen STOPPED and has joined the engine
    if (engine_->delivery().finish(std::move(chunk), cost)) engine_->resume_parked();
    if (!go_on) return;  // the environment is being torn down
  }
}

// Calls turned() in the next turn of the event loop.
void DeliveryBridge::watch(napi_env env) {
  if (std::exchange(watching_, true)) return;
  Napi::HandleScope scope(env);
  napi_value argument = go_on_.Value();
  napi_value receiver = Napi::Env(env).Global();
  napi_value immediate = nullptr;
  if (napi_call_function(env, receiver, set_immediate_.Value(), 1, &argument, &immediate) ==
      napi_ok) {
    if (keeps_loop_alive_) return;
    // It must not keep the event loop alive either, but then the loop may sleep before it runs it.
    napi_value unref = nullptr;
    if (napi_get_named_property(env, immediate, "unref", &unref) == napi_ok &&
        napi_call_function(env, immediate, unref, 0, nullptr, nullptr) == napi_ok) {
      return engine_->wake_from_outside();
    }
  }
  // Only while the environment is being torn down.
  napi_value error = nullptr;
  (void)napi_get_and_clear_last_exception(env, &error);
}

void DeliveryBridge::note_batch(const DeliveryChunk& chunk,
                                std::chrono::steady_clock::time_point now) {
  engine_->count(Counter::batches, 1);
  engine_->count(Counter::records, chunk.count());
  engine_->batch_records().add(chunk.count());
  const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(now - chunk.opened);
  engine_->delivery_latency_us().add(static_cast<uint64_t>(waited.count()));
}

// False when JavaScript cannot run any more.
bool DeliveryBridge::hand_over(napi_env env, DeliveryChunk* chunk) {
  Napi::HandleScope scope(env);
  std::memcpy(control_words_, chunk->records(), chunk->count() * sizeof(Record));
  napi_value arguments[2];
  napi_value receiver = nullptr;
  if (napi_get_undefined(env, &receiver) != napi_ok ||
      napi_create_uint32(env, chunk->count(), &arguments[0]) != napi_ok) {
    return false;
  }
  arguments[1] = payload_of(env, chunk);
  const napi_status status =
      napi_call_function(env, receiver, on_batch_.Value(), 2, arguments, nullptr);
  if (status == napi_ok) return true;
  // What a user's handler threw is an ordinary uncaught exception; the facade goes on with the rest
  // of the batch by itself.
  napi_value error = nullptr;
  if (status != napi_pending_exception || napi_get_and_clear_last_exception(env, &error) != napi_ok) {
    return false;
  }
  return napi_fatal_exception(env, error) == napi_ok;
}

napi_value DeliveryBridge::payload_of(napi_env env, DeliveryChunk* chunk) {
  napi_value payload = nullptr;
  const size_t size = chunk->payload_size();
  if (size == 0) {
    (void)napi_get_undefined(env, &payload);
    return payload;
  }
  if (external_buffers_ && size >= kExternalBytes) {
    uint8_t* block = chunk->release_payload();
    const napi_status status =
        napi_create_external_arraybuffer(env, block, size, &free_block, nullptr, &payload);
    if (status == napi_ok) return payload;
    external_buffers_ = false;  // Electron; a copy does everywhere
    chunk->adopt_payload(block, size);
  }
  void* data = nullptr;
  if (napi_create_arraybuffer(env, size, &data, &payload) == napi_ok) {
    std::memcpy(data, chunk->payload(), size);
  }
  return payload;
}

void DeliveryBridge::release_pin(napi_ref pin) {
  bool first = false;
  {
    std::lock_guard<SrwLock> guard(pins_lock_);
    first = free_pins_.empty();
    free_pins_.push_back(pin);
  }
  if (first && engine_ != nullptr) engine_->want_wake();
}

void DeliveryBridge::release_pins(napi_env env) {
  std::vector<napi_ref> pins;
  {
    std::lock_guard<SrwLock> guard(pins_lock_);
    pins.swap(free_pins_);
  }
  for (napi_ref pin : pins) (void)napi_delete_reference(env, pin);
}

}  // namespace iocp
