#include "napi/worker_port.h"

#include <utility>

#include "napi/args.h"

namespace iocp {

Napi::Function WorkerPort::define(Napi::Env env) {
  return DefineClass(env, "WorkerPort",
                     {
                         InstanceMethod<&WorkerPort::submit>("submit"),
                         InstanceMethod<&WorkerPort::next>("next"),
                         InstanceMethod<&WorkerPort::queued>("queued"),
                         InstanceMethod<&WorkerPort::detach>("detach"),
                     });
}

// (key of the jobs, number of the worker, jobs at a time, onBatch, setImmediate)
WorkerPort::WorkerPort(const Napi::CallbackInfo& info) : Napi::ObjectWrap<WorkerPort>(info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<JobHub> hub = JobHub::find(uint32_of(info[0]));
  if (hub == nullptr) {
    Napi::Error::New(env, "iocp addon: the jobs have ended").ThrowAsJavaScriptException();
    return;
  }
  const uint32_t capacity = uint32_of(info[2]);
  if (capacity == 0 || capacity > WorkerBridge::kMaxJobs || !info[3].IsFunction() || !info[4].IsFunction()) {
    Napi::TypeError::New(env, "iocp addon: wrong argument").ThrowAsJavaScriptException();
    return;
  }
  auto bridge = std::make_shared<WorkerBridge>(env, std::move(hub), uint32_of(info[1]), capacity);
  if (!bridge->open(info[3].As<Napi::Function>(), info[4].As<Napi::Function>())) {
    Napi::Error::New(env, "iocp addon: the worker is not wanted").ThrowAsJavaScriptException();
    return;
  }
  bridge_ = std::move(bridge);
  Napi::Object self = info.This().As<Napi::Object>();
  self.Set("batchControl", bridge_->control());
  self.Set("submitControl", bridge_->submission().control());
  self.Set("submitPayload", bridge_->submission().payload());
  Ref();
  // After that of the thread-safe function, hence called before it.
  napi_add_env_cleanup_hook(env, &on_environment_cleanup, this);
}

WorkerPort::~WorkerPort() = default;

void WorkerPort::on_environment_cleanup(void* self) { static_cast<WorkerPort*>(self)->bridge_->close(); }

Napi::Value WorkerPort::submit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  bool well_formed = true;
  if (bridge_->is_open()) {
    bridge_->hub().with_engine(
        [&](Engine& engine) { well_formed = bridge_->submission().submit(env, &engine, uint32_of(info[0]), info[1]); });
  }
  if (!well_formed) {
    Napi::TypeError::New(env, "iocp addon: malformed operation").ThrowAsJavaScriptException();
  }
  return env.Undefined();
}

// (whether the last one is pending) -> the bytes of the next job, whose records have been written; undefined
// when JavaScript shall return
Napi::Value WorkerPort::next(const Napi::CallbackInfo& info) {
  return bridge_->is_open() ? bridge_->next(boolean_of(info[0])) : info.Env().Undefined();
}

// (slot, generation) -> bytes that the connection has to send, -1 when it is gone
Napi::Value WorkerPort::queued(const Napi::CallbackInfo& info) {
  const ConnectionId id{uint32_of(info[0]), uint32_of(info[1])};
  double bytes = -1;
  bridge_->hub().with_engine([&](Engine& engine) {
    engine.with_connection(
        id, [&](Connection& connection) { bytes = static_cast<double>(connection.sender().queued().bytes); });
  });
  return Napi::Number::New(info.Env(), bytes);
}

void WorkerPort::detach(const Napi::CallbackInfo& info) {
  if (!bridge_->is_open()) return;
  napi_remove_env_cleanup_hook(info.Env(), &on_environment_cleanup, this);
  bridge_->close();
  Unref();
}

}  // namespace iocp
