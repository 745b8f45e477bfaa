#include "napi/delivery_bridge.h"

#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/payload_memory.h"
#include "napi/detached_call.h"

namespace iocp {
namespace {

constexpr size_t kDrainBytes = 8 * 1024 * 1024;
// From here on handing the block over is cheaper than copying it.
constexpr size_t kExternalBytes = 24 * 1024;

void free_block(napi_env, void* data, void*) { PayloadMemory::free(static_cast<uint8_t*>(data)); }

}  // namespace

bool DeliveryBridge::open(Napi::Function on_batch, Napi::Function set_immediate, Napi::Uint32Array control,
                          bool external_memory) {
  const auto hold = [](auto& reference, auto value) {
    reference = Napi::Persistent(value);
    reference.SuppressDestruct();  // given back in close(), on the JavaScript thread
  };
  hold(control_, control);
  hold(on_batch_, on_batch);
  control_words_ = control.Data();
  external_memory_ = external_memory;
  return waker_.open(std::shared_ptr<LoopWaker>(shared_from_this(), &waker_), "iocp", set_immediate);
}

void DeliveryBridge::close() {
  engine_ = nullptr;
  release_pins(env_);
  files_.close();
  control_.Reset();
  on_batch_.Reset();
  waker_.close();
}

void DeliveryBridge::drain(napi_env env) {
  // A handler that turns the event loop itself: its batch is not over, and the outer drain takes what is left.
  if (engine_ == nullptr || in_batch_) return;
  const auto begun = std::chrono::steady_clock::now();
  size_t bytes = 0;
  engine_->count(Counter::wakes, 1);
  for (;;) {
    std::unique_ptr<DeliveryChunk> chunk = engine_->delivery().take();
    if (chunk == nullptr) {
      if (engine_->delivery().end_drain()) continue;
      // Nobody woke this thread for those that came while it drained.
      release_pins(env);
      return files_.settle(env);
    }
    const auto now = std::chrono::steady_clock::now();
    if (bytes >= kDrainBytes || now - begun >= LoopWaker::kTurnTime) {
      engine_->delivery().put_back(std::move(chunk));
      return waker_.go_on_later();
    }
    note_batch(*chunk, now);
    files_.settle(env);  // STOPPED may be in this chunk
    const size_t cost = chunk->cost();
    bytes += cost;
    const bool go_on = hand_over(env, chunk.get());
    if (engine_ == nullptr) return;  // the callback has seen STOPPED and has joined the engine
    if (engine_->delivery().finish(std::move(chunk), cost)) engine_->resume_parked();
    if (!go_on) return;  // the environment is being torn down
  }
}

void DeliveryBridge::note_batch(const DeliveryChunk& chunk, std::chrono::steady_clock::time_point now) {
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
  if (napi_create_uint32(env, chunk->count(), &arguments[0]) != napi_ok) return false;
  arguments[1] = payload_of(env, chunk);
  in_batch_ = true;
  const bool runs = hand_over_detached(env, on_batch_.Value(), 2, arguments);
  in_batch_ = false;
  return runs;
}

napi_value DeliveryBridge::payload_of(napi_env env, DeliveryChunk* chunk) {
  napi_value payload = nullptr;
  const size_t size = chunk->payload_size();
  if (size == 0) {
    (void)napi_get_undefined(env, &payload);
    return payload;
  }
  if (external_memory_ && size >= kExternalBytes) {
    uint8_t* block = chunk->release_payload();
    const napi_status status = napi_create_external_arraybuffer(env, block, size, &free_block, nullptr, &payload);
    if (status == napi_ok) return payload;
    external_memory_ = false;  // Electron; a copy does everywhere
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
  if (first && engine_ != nullptr) engine_->request_wakeup();
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
