#include "napi/engine_wrap.h"

#include <string>
#include <utility>

#include "napi/args.h"
#include "napi/errors.h"
#include "napi/files.h"
#include "napi/stats.h"

namespace iocp {
namespace {

ConnectionId id_of(const Napi::CallbackInfo& info) { return {uint32_of(info[0]), uint32_of(info[1])}; }

}  // namespace

Napi::Function EngineWrap::define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceMethod<&EngineWrap::submit>("submit"),
                         InstanceMethod<&EngineWrap::add_profile>("addProfile"),
                         InstanceMethod<&EngineWrap::listen>("listen"),
                         InstanceMethod<&EngineWrap::listener_address>("listenerAddress"),
                         InstanceMethod<&EngineWrap::close_listener>("closeListener"),
                         InstanceMethod<&EngineWrap::connect>("connect"),
                         InstanceMethod<&EngineWrap::cancel_connect>("cancelConnect"),
                         InstanceMethod<&EngineWrap::queued>("queued"),
                         InstanceMethod<&EngineWrap::queued_packets>("queuedPackets"),
                         InstanceMethod<&EngineWrap::connection_info>("connectionInfo"),
                         InstanceMethod<&EngineWrap::set_time_limits>("setTimeLimits"),
                         InstanceMethod<&EngineWrap::open_source>("openSource"),
                         InstanceMethod<&EngineWrap::open_target>("openTarget"),
                         InstanceMethod<&EngineWrap::hash_some>("hashSome"),
                         InstanceMethod<&EngineWrap::finish_creations>("finishCreations"),
                         InstanceMethod<&EngineWrap::stop_file>("stopFile"),
                         InstanceMethod<&EngineWrap::close_file>("closeFile"),
                         InstanceMethod<&EngineWrap::move_file>("moveFile"),
                         InstanceMethod<&EngineWrap::rename_file>("renameFile"),
                         InstanceMethod<&EngineWrap::send_file>("sendFile"),
                         InstanceMethod<&EngineWrap::receive_file>("receiveFile"),
                         InstanceMethod<&EngineWrap::cancel_file>("cancelFile"),
                         InstanceMethod<&EngineWrap::reserve_file>("reserveFile"),
                         InstanceMethod<&EngineWrap::start_sent_file>("startSentFile"),
                         InstanceMethod<&EngineWrap::hold_end>("holdEnd"),
                         InstanceMethod<&EngineWrap::send_control>("sendControl"),
                         InstanceMethod<&EngineWrap::transfer_frame>("transferFrame"),
                         InstanceMethod<&EngineWrap::stats>("stats"),
                         InstanceMethod<&EngineWrap::open_jobs>("openJobs"),
                         InstanceMethod<&EngineWrap::add_job>("addJob"),
                         InstanceMethod<&EngineWrap::cancel_job>("cancelJob"),
                         InstanceMethod<&EngineWrap::stuck_worker>("stuckWorker"),
                         InstanceMethod<&EngineWrap::expire_jobs>("expireJobs"),
                         InstanceMethod<&EngineWrap::refuse_jobs>("refuseJobs"),
                         InstanceMethod<&EngineWrap::retire_worker>("retireWorker"),
                         InstanceMethod<&EngineWrap::drain_jobs>("drainJobs"),
                         InstanceMethod<&EngineWrap::close_jobs>("closeJobs"),
                         InstanceMethod<&EngineWrap::job_stats>("jobStats"),
                         InstanceMethod<&EngineWrap::set_access>("setAccess"),
                         InstanceMethod<&EngineWrap::ban>("ban"),
                         InstanceMethod<&EngineWrap::lift>("lift"),
                         InstanceMethod<&EngineWrap::restore_ban>("restoreBan"),
                         InstanceMethod<&EngineWrap::bans>("bans"),
                         InstanceMethod<&EngineWrap::test_access>("testAccess"),
                         InstanceMethod<&EngineWrap::stop>("stop"),
                         InstanceMethod<&EngineWrap::join>("join"),
                         InstanceMethod<&EngineWrap::keep_alive>("ref"),
                         InstanceMethod<&EngineWrap::let_go>("unref"),
                     });
}

EngineWrap::EngineWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineWrap>(info) {
  const Napi::Env env = info.Env();
  EngineOptions options;
  bool external_memory = false;
  if (!read_engine_options(env, info[0], &options, &external_memory)) return;
  if (!info[1].IsFunction() || !info[2].IsFunction()) {
    const char* name = info[1].IsFunction() ? "setImmediate" : "onBatch";
    Napi::TypeError::New(env, std::string("iocp addon: wrong argument: ") + name).ThrowAsJavaScriptException();
    return;
  }
  auto delivery = std::make_shared<DeliveryBridge>(env);
  const Napi::Uint32Array control = Napi::Uint32Array::New(env, DeliveryChunk::kMaxRecords * kRecordWords);
  if (!delivery->open(info[1].As<Napi::Function>(), info[2].As<Napi::Function>(), control, external_memory)) {
    Napi::Error::New(env, "iocp addon: no thread-safe function").ThrowAsJavaScriptException();
    return;
  }
  auto engine = std::make_unique<Engine>(options, &wake, delivery.get());
  const char* syscall = "";
  const uint32_t error = engine->start(&syscall);
  if (error != 0) {
    delivery->close();
    throw_system_error(env, syscall, error);
    return;
  }
  delivery->set_engine(engine.get());
  delivery_ = std::move(delivery);
  engine_ = std::move(engine);
  submission_ = std::make_unique<SubmissionBridge>(env, delivery_);
  Napi::Object self = info.This().As<Napi::Object>();
  self.Set("batchControl", control);
  self.Set("submitControl", submission_->control());
  self.Set("submitPayload", submission_->payload());
  Ref();
  napi_add_env_cleanup_hook(env, &on_environment_cleanup, this);
}

EngineWrap::~EngineWrap() = default;

void EngineWrap::on_environment_cleanup(void* self) {
  EngineWrap* wrap = static_cast<EngineWrap*>(self);
  wrap->engine_->shutdown_now();
  wrap->end();
}

// The threads have ended: nothing native is left but this object.
void EngineWrap::end() {
  if (hub_ != nullptr) hub_->close();
  delivery_->close();
  submission_->close();
  engine_.reset();
  hub_.reset();
}

Engine* EngineWrap::running(const Napi::CallbackInfo& info) {
  if (engine_ != nullptr) return engine_.get();
  Napi::Error::New(info.Env(), "iocp addon: the engine has ended").ThrowAsJavaScriptException();
  return nullptr;
}

Napi::Value EngineWrap::submit(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine == nullptr) return info.Env().Undefined();
  if (!submission_->submit(info.Env(), engine, uint32_of(info[0]), info[1])) {
    Napi::TypeError::New(info.Env(), "iocp addon: malformed operation").ThrowAsJavaScriptException();
  }
  return info.Env().Undefined();
}

Napi::Value EngineWrap::add_profile(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  Profile profile;
  if (engine == nullptr || !read_profile(info.Env(), info[0], &profile)) {
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), engine->add_profile(std::move(profile)));
}

Napi::Value EngineWrap::listen(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine* engine = running(info);
  ListenOptions options;
  if (engine == nullptr || !read_listen_options(env, info[0], *engine, &options)) {
    return env.Undefined();
  }
  uint32_t index = 0;
  const char* syscall = "";
  const uint32_t error = engine->listen(options, &index, &syscall);
  if (error == 0) return Napi::Number::New(env, index);
  throw_system_error(env, syscall, error);
  return env.Undefined();
}

Napi::Value EngineWrap::listener_address(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Engine* engine = running(info);
  if (engine == nullptr) return env.Undefined();
  const Listener* listener = engine->listener(uint32_of(info[0]));
  if (listener == nullptr) return env.Undefined();
  const Address& address = listener->address();
  Napi::Object result = Napi::Object::New(env);
  result.Set("address", address.host());
  result.Set("family", address.family() == AF_INET ? "IPv4" : "IPv6");
  result.Set("port", Napi::Number::New(env, address.port()));
  return result;
}

void EngineWrap::close_listener(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine != nullptr) engine->close_listener(uint32_of(info[0]));
}

void EngineWrap::connect(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  ConnectOptions options;
  if (engine == nullptr || !read_connect_options(info.Env(), info[0], *engine, &options)) return;
  if (engine->connect(options)) return;
  Napi::Error::New(info.Env(), "iocp addon: the engine has ended").ThrowAsJavaScriptException();
}

void EngineWrap::cancel_connect(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine != nullptr) engine->cancel_connect(uint32_of(info[0]));
}

Napi::Value EngineWrap::queued(const Napi::CallbackInfo& info) {
  double bytes = -1;
  if (engine_ != nullptr) {
    engine_->with_connection(
        id_of(info), [&](Connection& connection) { bytes = static_cast<double>(connection.sender().queued().bytes); });
  }
  return Napi::Number::New(info.Env(), bytes);
}

Napi::Value EngineWrap::queued_packets(const Napi::CallbackInfo& info) {
  double packets = -1;
  if (engine_ != nullptr) {
    engine_->with_connection(id_of(info),
                             [&](Connection& connection) { packets = connection.sender().queued().packets; });
  }
  return Napi::Number::New(info.Env(), packets);
}

Napi::Value EngineWrap::connection_info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (engine_ == nullptr) return env.Undefined();
  Napi::Value result = env.Undefined();
  engine_->with_connection(id_of(info), [&](Connection& connection) { result = describe_connection(env, connection); });
  return result;
}

void EngineWrap::set_time_limits(const Napi::CallbackInfo& info) {
  TimeLimits limits;
  if (engine_ == nullptr || !read_time_limits(info[2], &limits)) return;
  engine_->with_connection(id_of(info), [&](Connection& connection) { connection.set_time_limits(limits); });
}

Napi::Value EngineWrap::open_source(const Napi::CallbackInfo& info) { return file_job<&iocp::open_source>(info); }
Napi::Value EngineWrap::open_target(const Napi::CallbackInfo& info) { return file_job<&iocp::open_target>(info); }
Napi::Value EngineWrap::hash_some(const Napi::CallbackInfo& info) { return file_job<&iocp::hash_some>(info); }
Napi::Value EngineWrap::move_file(const Napi::CallbackInfo& info) { return file_job<&iocp::move_file>(info); }
Napi::Value EngineWrap::rename_file(const Napi::CallbackInfo& info) { return file_job<&iocp::rename_file>(info); }
// The process exits: what waits to make a file does not begin, and what makes one is waited for.
void EngineWrap::finish_creations(const Napi::CallbackInfo&) {
  if (engine_ == nullptr) return;
  engine_->disk().break_off();
  delivery_->files().wait_for_creations();
}

void EngineWrap::stop_file(const Napi::CallbackInfo& info) { iocp::stop_file(info); }

// Also when the engine has ended.
Napi::Value EngineWrap::close_file(const Napi::CallbackInfo& info) {
  return iocp::close_file(info, engine_.get(), &delivery_->files());
}

// The two below take slot and generation first and say whether the connection took the file over.
Napi::Value EngineWrap::send_file(const Napi::CallbackInfo& info) {
  SendFileOptions options;
  bool taken = false;
  uint32_t error = 0;
  if (engine_ != nullptr && read_send_file(info.Env(), info[3], &options)) {
    const FileHome file = home_of(info[2]);
    engine_->with_connection(id_of(info), [&](Connection& connection) {
      taken = file != nullptr && connection.files().send(file.get(), options, &error);
    });
    engine_->wake_if_needed();
    if (error != 0) throw_system_error(info.Env(), "CreateIoCompletionPort", error);
  }
  return Napi::Boolean::New(info.Env(), taken);
}

Napi::Value EngineWrap::receive_file(const Napi::CallbackInfo& info) {
  ReceiveFileOptions options;
  bool taken = false;
  uint32_t error = 0;
  if (engine_ != nullptr && read_receive_file(info.Env(), info[3], &options)) {
    const FileHome file = home_of(info[2]);
    engine_->with_connection(id_of(info), [&](Connection& connection) {
      taken = file != nullptr && connection.files().receive(file, options, &error);
    });
    engine_->wake_if_needed();
    if (error != 0) throw_system_error(info.Env(), "CreateIoCompletionPort", error);
  }
  return Napi::Boolean::New(info.Env(), taken);
}

void EngineWrap::cancel_file(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  const bool received = boolean_of(info[2]);
  const uint32_t id = uint32_of(info[3]);
  engine_->with_connection(id_of(info), [&](Connection& connection) {
    if (ConnectionFiles* files = connection.files_if_any()) files->cancel(received, id);
  });
  engine_->wake_if_needed();
}

Napi::Value EngineWrap::reserve_file(const Napi::CallbackInfo& info) {
  bool taken = false;
  if (engine_ != nullptr) {
    const uint32_t id = uint32_of(info[2]);
    engine_->with_connection(id_of(info), [&](Connection& connection) { taken = connection.files().reserve(id); });
  }
  return Napi::Boolean::New(info.Env(), taken);
}

void EngineWrap::start_sent_file(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  const uint32_t id = uint32_of(info[2]);
  engine_->with_connection(id_of(info), [&](Connection& connection) {
    if (ConnectionFiles* files = connection.files_if_any()) files->start_sent(id);
  });
}

void EngineWrap::hold_end(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  const bool on = boolean_of(info[2]);
  engine_->with_connection(id_of(info), [&](Connection& connection) { connection.hold_end(on); });
}

Napi::Value EngineWrap::send_control(const Napi::CallbackInfo& info) {
  bool taken = false;
  if (engine_ != nullptr && info[2].IsTypedArray()) {
    const Napi::Uint8Array packet = info[2].As<Napi::Uint8Array>();
    const uint32_t before = uint32_of(info[3]);
    engine_->with_connection(id_of(info), [&](Connection& connection) {
      taken = connection.sender().push_control({packet.Data(), packet.ByteLength()}, before);
    });
  }
  return Napi::Boolean::New(info.Env(), taken);
}

Napi::Value EngineWrap::transfer_frame(const Napi::CallbackInfo& info) {
  OwnedTransferFrame frame;
  bool taken = false;
  if (engine_ != nullptr && read_transfer_frame(info.Env(), info[2], &frame)) {
    engine_->with_connection(id_of(info), [&](Connection& connection) {
      taken = connection.sender().push_transfer(connection.sender().framing(), frame.frame);
    });
  }
  return Napi::Boolean::New(info.Env(), taken);
}

Napi::Value EngineWrap::stats(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine == nullptr) return info.Env().Undefined();
  return describe_engine(info.Env(), *engine);
}

void EngineWrap::stop(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine != nullptr) engine->stop(uint32_of(info[0]));
}

void EngineWrap::join(const Napi::CallbackInfo& info) {
  if (engine_ == nullptr) return;
  napi_remove_env_cleanup_hook(info.Env(), &on_environment_cleanup, this);
  engine_->shutdown_now();  // waits for what is pending, when STOPPED has not been seen yet
  delivery_->files().settle(info.Env());
  end();
  Unref();
}

void EngineWrap::keep_alive(const Napi::CallbackInfo&) {
  if (engine_ != nullptr) delivery_->keep_loop_alive(true);
}

void EngineWrap::let_go(const Napi::CallbackInfo&) {
  if (engine_ != nullptr) delivery_->keep_loop_alive(false);
}

}  // namespace iocp
