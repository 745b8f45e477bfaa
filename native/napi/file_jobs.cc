#include "napi/file_jobs.h"

#include <utility>

#include "core/error_table.h"
#include "napi/errors.h"

namespace iocp {
namespace {

constexpr uint64_t kCreationPatienceMs = 2000;

}  // namespace

class FileJobs::Job final : public DiskWork {
 public:
  Job(FileJobs* jobs, Engine* engine, bool is_counted, napi_deferred deferred, Plan plan)
      : jobs_(jobs), engine_(engine), is_counted_(is_counted), deferred_(deferred), plan_(std::move(plan)) {}

  void settle(napi_env env) {
    const Napi::Value value = plan_.result(env);
    // Refused while the environment is being torn down; nobody waits then.
    if (error_ == 0) {
      (void)napi_resolve_deferred(env, deferred_, value);
    } else {
      (void)napi_reject_deferred(env, deferred_, make_system_error(env, plan_.syscall, error_).Value());
    }
  }

 private:
  void run_on_disk() override {
    DiskPool& disk = engine_->disk();
    if (plan_.breakable) disk.set_breakable(true);
    // Asked behind that. Whoever breaks off just behind the question does so again, until nothing is to be waited for.
    error_ = plan_.breakable && disk.is_broken_off() ? static_cast<uint32_t>(kErrorOperationAborted) : plan_.work();
    if (plan_.breakable) disk.set_breakable(false);
  }
  void hold_for_disk() override {}
  void let_go_of_disk() override {
    Engine* const engine = engine_;
    const bool is_counted = is_counted_;
    jobs_->done(this, plan_.creates);  // the last touch
    engine->request_wakeup();          // the disk thread does, next
    if (is_counted) engine->active_release();
  }

  FileJobs* const jobs_;
  Engine* const engine_;
  const bool is_counted_;
  napi_deferred const deferred_;
  const Plan plan_;
  uint32_t error_ = 0;
};

FileJobs::~FileJobs() { close(); }

Napi::Value FileJobs::start(Napi::Env env, Engine* engine, Plan plan) {
  napi_deferred deferred = nullptr;
  napi_value promise = nullptr;
  if (napi_create_promise(env, &deferred, &promise) != napi_ok) return Napi::Value();
  const DiskLane lane = plan.lane;
  const bool has_thread = engine->disk().start();
  const bool is_counted = has_thread && engine->try_active_add();
  uint32_t refused = 0;
  if (!has_thread) {
    refused = kErrorNotEnoughMemory;
  } else if (!is_counted && lane != DiskLane::end) {
    refused = kErrorOperationAborted;
  }
  if (refused != 0) {
    (void)plan.result(env);
    Napi::Error error = make_system_error(env, plan.syscall, refused);
    (void)napi_reject_deferred(env, deferred, error.Value());
    return Napi::Value(env, promise);
  }
  if (plan.creates) {
    std::lock_guard<SrwLock> guard(lock_);
    ++creating_;
  }
  engine->disk().schedule(new Job(this, engine, is_counted, deferred, std::move(plan)), lane);
  return Napi::Value(env, promise);
}

void FileJobs::done(Job* job, bool has_created) {
  std::lock_guard<SrwLock> guard(lock_);
  if (has_created && --creating_ == 0) created_.notify_all();
  done_.push_back(job);
  has_done_.store(true, std::memory_order_release);
}

std::vector<FileJobs::Job*> FileJobs::take_done() {
  std::vector<Job*> jobs;
  std::lock_guard<SrwLock> guard(lock_);
  jobs.swap(done_);
  has_done_.store(false, std::memory_order_release);
  return jobs;
}

void FileJobs::settle_all(napi_env env) {
  Napi::HandleScope scope(env);
  for (Job* job : take_done()) {
    job->settle(env);
    delete job;
  }
}

void FileJobs::wait_for_creations() {
  const uint64_t until = Engine::now_ms() + kCreationPatienceMs;
  std::lock_guard<SrwLock> guard(lock_);
  while (creating_ != 0) {
    const uint64_t now = Engine::now_ms();
    if (now >= until) return;
    (void)created_.wait_for(lock_, static_cast<DWORD>(until - now));
  }
}

void FileJobs::close() {
  for (Job* job : take_done()) delete job;
}

}  // namespace iocp
