#pragma once
// The last step of the delivery queue: batches into the facade's callback.
//
// One wake-up is scheduled at most. A drain has a budget; the rest goes on by setImmediate, because Node
// runs a thread-safe function that is called again within the same turn of the event loop. Created and
// drained on the JavaScript thread; wake() runs on any thread. The thread-safe function holds it, so that
// it outlives the last wake-up.
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <napi.h>

#include "win/engine.h"

namespace iocp {

class DeliveryBridge final : public std::enable_shared_from_this<DeliveryBridge> {
 public:
  explicit DeliveryBridge(napi_env env) : env_(env) {}
  DeliveryBridge(const DeliveryBridge&) = delete;
  DeliveryBridge& operator=(const DeliveryBridge&) = delete;

  // `control` receives the records of each batch just before the call. `set_immediate` is Node's own, not
  // what a test may have put in its place.
  bool open(Napi::Function on_batch, Napi::Function set_immediate, Napi::Uint32Array control);
  void set_engine(Engine* engine) { engine_ = engine; }
  void keep_loop_alive(bool alive);
  // The engine's threads have ended. Further wake-ups do nothing.
  void close();

  // Any thread, without locks.
  void wake();
  // Any thread: a pinned payload is free again; its reference belongs to the JavaScript thread, which the
  // engine wakes at the end of the turn.
  void release_pin(napi_ref pin);

 private:
  static void call_js(napi_env env, napi_value callback, void* context, void* data);
  static void finalize(napi_env env, void* data, void* hint);
  void drain(napi_env env);
  bool may_drain(napi_env env);
  void watch(napi_env env);
  void turned(napi_env env);
  void note_batch(const DeliveryChunk& chunk, std::chrono::steady_clock::time_point now);
  bool hand_over(napi_env env, DeliveryChunk* chunk);
  napi_value payload_of(napi_env env, DeliveryChunk* chunk);
  void release_pins(napi_env env);

  napi_env const env_;
  Engine* engine_ = nullptr;  // null once closed
  napi_threadsafe_function function_ = nullptr;
  Napi::Reference<Napi::Uint32Array> control_;
  uint32_t* control_words_ = nullptr;
  Napi::FunctionReference on_batch_;
  Napi::FunctionReference set_immediate_;
  Napi::FunctionReference go_on_;
  std::chrono::steady_clock::time_point turned_at_;  // the last turn that is known of
  bool watching_ = false;         // turned() is to come
  bool goes_on_later_ = false;    // and drains then: this turn has used its time up
  bool keeps_loop_alive_ = true;
  bool external_buffers_ = true;  // until a host refuses them
  SrwLock pins_lock_;
  std::vector<napi_ref> free_pins_;
};

}  // namespace iocp
