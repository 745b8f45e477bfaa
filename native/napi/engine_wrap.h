#pragma once
#include <cstdint>
#include <memory>

#include <napi.h>

#include "napi/delivery_bridge.h"
#include "napi/files.h"
#include "napi/submission_bridge.h"
#include "win/engine/engine.h"
#include "win/jobs/job_hub.h"

namespace iocp {

// The JavaScript class Engine. Keeps itself alive from its construction until join(), and ends
// everything when its environment (the process's or a Worker's) is torn down before that.
class EngineWrap final : public Napi::ObjectWrap<EngineWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineWrap(const Napi::CallbackInfo& info);
  ~EngineWrap() override;

 private:
  static void on_environment_cleanup(void* self);
  static void wake(void* bridge) { static_cast<DeliveryBridge*>(bridge)->wake(); }
  // Null, and an exception, when the engine has been joined.
  Engine* running(const Napi::CallbackInfo& info);

  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value add_profile(const Napi::CallbackInfo& info);
  Napi::Value listen(const Napi::CallbackInfo& info);
  Napi::Value listener_address(const Napi::CallbackInfo& info);
  void close_listener(const Napi::CallbackInfo& info);
  void connect(const Napi::CallbackInfo& info);
  void cancel_connect(const Napi::CallbackInfo& info);
  Napi::Value queued(const Napi::CallbackInfo& info);
  Napi::Value queued_packets(const Napi::CallbackInfo& info);
  void set_time_limits(const Napi::CallbackInfo& info);
  Napi::Value connection_info(const Napi::CallbackInfo& info);
  Napi::Value open_source(const Napi::CallbackInfo& info);
  Napi::Value open_target(const Napi::CallbackInfo& info);
  Napi::Value hash_some(const Napi::CallbackInfo& info);
  void finish_creations(const Napi::CallbackInfo& info);
  void stop_file(const Napi::CallbackInfo& info);
  Napi::Value close_file(const Napi::CallbackInfo& info);
  Napi::Value move_file(const Napi::CallbackInfo& info);
  Napi::Value rename_file(const Napi::CallbackInfo& info);
  Napi::Value send_file(const Napi::CallbackInfo& info);
  Napi::Value receive_file(const Napi::CallbackInfo& info);
  void cancel_file(const Napi::CallbackInfo& info);
  Napi::Value reserve_file(const Napi::CallbackInfo& info);
  void start_sent_file(const Napi::CallbackInfo& info);
  void hold_end(const Napi::CallbackInfo& info);
  Napi::Value send_control(const Napi::CallbackInfo& info);
  Napi::Value transfer_frame(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  void stop(const Napi::CallbackInfo& info);
  void join(const Napi::CallbackInfo& info);
  void keep_alive(const Napi::CallbackInfo& info);
  void let_go(const Napi::CallbackInfo& info);
  Napi::Value open_jobs(const Napi::CallbackInfo& info);
  Napi::Value add_job(const Napi::CallbackInfo& info);
  Napi::Value cancel_job(const Napi::CallbackInfo& info);
  Napi::Value stuck_worker(const Napi::CallbackInfo& info);
  Napi::Value expire_jobs(const Napi::CallbackInfo& info);
  void refuse_jobs(const Napi::CallbackInfo& info);
  void retire_worker(const Napi::CallbackInfo& info);
  void drain_jobs(const Napi::CallbackInfo& info);
  void close_jobs(const Napi::CallbackInfo& info);
  Napi::Value job_stats(const Napi::CallbackInfo& info);
  void set_access(const Napi::CallbackInfo& info);
  Napi::Value ban(const Napi::CallbackInfo& info);
  Napi::Value lift(const Napi::CallbackInfo& info);
  void restore_ban(const Napi::CallbackInfo& info);
  Napi::Value bans(const Napi::CallbackInfo& info);
  Napi::Value test_access(const Napi::CallbackInfo& info);
  AccessControl* access() const;  // null: there are no rules
  JobHub* hub() const { return hub_.get(); }
  template <Napi::Value (*begin)(const Napi::CallbackInfo&, Engine*, FileJobs*)>
  Napi::Value file_job(const Napi::CallbackInfo& info) {
    Engine* const engine = running(info);
    return engine == nullptr ? info.Env().Undefined() : begin(info, engine, &delivery_->files());
  }
  void end();

  std::shared_ptr<DeliveryBridge> delivery_;
  std::unique_ptr<SubmissionBridge> submission_;
  std::shared_ptr<JobHub> hub_;  // null: there are no workers. The engine sends it packets, so it goes after it.
  std::unique_ptr<Engine> engine_;
};

}  // namespace iocp
