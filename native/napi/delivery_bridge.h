#pragma once
// The last step of the delivery queue: batches into the facade's callback.
//
// One wake-up is scheduled at most. A drain has a budget; see LoopWaker for when the rest goes on. Created
// and drained on the JavaScript thread; wake() runs on any thread.
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include <napi.h>

#include "napi/file_jobs.h"
#include "napi/loop_waker.h"
#include "win/engine/engine.h"

namespace iocp {

class DeliveryBridge final : public LoopWaker::Target, public std::enable_shared_from_this<DeliveryBridge> {
 public:
  explicit DeliveryBridge(napi_env env) : env_(env), waker_(env, this) {}
  DeliveryBridge(const DeliveryBridge&) = delete;
  DeliveryBridge& operator=(const DeliveryBridge&) = delete;

  // `control` receives the records of each batch just before the call. `set_immediate` is Node's own, not
  // what a test may have put in its place. `external_memory`: large batches may be handed over as they are.
  // JavaScript marks the memory of batches as not transferable, and where Node does that with a detach key,
  // it aborts when the environment ends while marked memory is there that is not its own.
  bool open(Napi::Function on_batch, Napi::Function set_immediate, Napi::Uint32Array control, bool external_memory);
  void set_engine(Engine* engine) { engine_ = engine; }
  void keep_loop_alive(bool alive) { waker_.keep_loop_alive(alive); }
  // The engine's threads have ended. Further wake-ups do nothing.
  void close();

  // Any thread that holds no lock of its own. None after close().
  void wake() { waker_.wake(); }
  // The JavaScript thread. They are settled with the batches, before whatever the engine tells later.
  FileJobs& files() { return files_; }
  // Any thread: a pinned payload is free again; its reference belongs to the JavaScript thread, which the
  // engine wakes at the end of the turn.
  void release_pin(napi_ref pin);

 private:
  void drain(napi_env env) override;
  void woken(napi_env env) override {
    release_pins(env);
    files_.settle(env);
  }
  void nudge() override { engine_->wake_via_port(); }
  void note_batch(const DeliveryChunk& chunk, std::chrono::steady_clock::time_point now);
  bool hand_over(napi_env env, DeliveryChunk* chunk);
  napi_value payload_of(napi_env env, DeliveryChunk* chunk);
  void release_pins(napi_env env);

  napi_env const env_;
  Engine* engine_ = nullptr;  // null once closed
  LoopWaker waker_;
  Napi::Reference<Napi::Uint32Array> control_;
  uint32_t* control_words_ = nullptr;
  Napi::FunctionReference on_batch_;
  bool in_batch_ = false;         // JavaScript is at the records in control_
  bool external_memory_ = false;  // until a host refuses it
  SrwLock pins_lock_;
  std::vector<napi_ref> free_pins_;
  FileJobs files_;
};

}  // namespace iocp
