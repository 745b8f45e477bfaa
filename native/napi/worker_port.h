#pragma once
#include <memory>

#include <napi.h>

#include "napi/worker_bridge.h"

namespace iocp {

// The JavaScript class WorkerPort: a worker's end of an engine's jobs. Keeps itself alive until
// detach(), and leaves the jobs when its environment is torn down before that.
class WorkerPort final : public Napi::ObjectWrap<WorkerPort> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit WorkerPort(const Napi::CallbackInfo& info);
  ~WorkerPort() override;

 private:
  static void on_environment_cleanup(void* self);
  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value next(const Napi::CallbackInfo& info);
  Napi::Value queued(const Napi::CallbackInfo& info);
  void detach(const Napi::CallbackInfo& info);

  std::shared_ptr<WorkerBridge> bridge_;
};

}  // namespace iocp
