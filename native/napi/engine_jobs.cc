// What the engine's own environment does with jobs.
#include <cstring>
#include <utility>
#include <vector>

#include "napi/args.h"
#include "napi/engine_wrap.h"
#include "napi/stats.h"

namespace iocp {
namespace {

// What addJob() says instead of a job's number.
constexpr double kQueueFull = -1;
constexpr double kQueueClosed = -2;

// As a connection's: generation * 2^21 + slot.
double number_of(JobId id) {
  return static_cast<double>((static_cast<uint64_t>(id.generation) << kSlotBits) | id.slot);
}

JobId job_of(const Napi::Value& value) {
  const ConnectionId id = ConnectionId::from_number(whole_number(value));
  return {id.slot, id.generation};
}

void copy_into(uint8_t* at, const Napi::Uint8Array& bytes) {
  if (bytes.ByteLength() != 0) std::memcpy(at, bytes.Data(), bytes.ByteLength());
}

}  // namespace

// (options) -> the key under which workers find the jobs
Napi::Value EngineWrap::open_jobs(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  JobHubOptions options;
  if (engine == nullptr || !read_job_options(info.Env(), info[0], &options)) {
    return info.Env().Undefined();
  }
  hub_ = JobHub::create(engine, options);
  engine->route_packets(hub_.get());
  return Napi::Number::New(info.Env(), hub_->key());
}

// (priority, slot, generation, skipWhenClosed, announce, head, body) -> the job's number, or why not
Napi::Value EngineWrap::add_job(const Napi::CallbackInfo& info) {
  JobHub* jobs = hub();
  if (jobs == nullptr) return Napi::Number::New(info.Env(), kQueueClosed);
  const Napi::Uint8Array head = info[5].As<Napi::Uint8Array>();
  const Napi::Uint8Array body = info[6].As<Napi::Uint8Array>();
  const uint64_t size = uint64_t{head.ByteLength()} + body.ByteLength();
  if (size > INT32_MAX) return Napi::Number::New(info.Env(), kQueueFull);
  Job job;
  job.kind = JobKind::call;
  job.priority = job_priority(uint32_of(info[0]));
  job.connection = {uint32_of(info[1]), uint32_of(info[2])};
  job.skip_when_closed = boolean_of(info[3]);
  job.announce = boolean_of(info[4]);
  job.bytes.size = static_cast<uint32_t>(size);
  job.bytes.data.reset(new uint8_t[size]);
  copy_into(job.bytes.data.get(), head);
  copy_into(job.bytes.data.get() + head.ByteLength(), body);
  JobId id;
  switch (jobs->add_call(std::move(job), &id)) {
    case JobQueue::AddResult::queued:
      return Napi::Number::New(info.Env(), number_of(id));
    case JobQueue::AddResult::full:
      return Napi::Number::New(info.Env(), kQueueFull);
    case JobQueue::AddResult::closed:
      break;
  }
  return Napi::Number::New(info.Env(), kQueueClosed);
}

// (job) -> 0 gone, 1 taken out, 2 it runs and its worker is told
Napi::Value EngineWrap::cancel_job(const Napi::CallbackInfo& info) {
  JobHub* jobs = hub();
  const auto result = jobs == nullptr ? JobQueue::CancelResult::gone : jobs->cancel(job_of(info[0]));
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(result));
}

// (job) -> the number of the worker that has been told to give the job up and has not, else -1
Napi::Value EngineWrap::stuck_worker(const Napi::CallbackInfo& info) {
  JobHub* jobs = hub();
  const int64_t worker = jobs == nullptr ? -1 : jobs->stuck_worker(job_of(info[0]));
  return Napi::Number::New(info.Env(), static_cast<double>(worker));
}

// (milliseconds) -> routed jobs that have run for longer; each has failed
Napi::Value EngineWrap::expire_jobs(const Napi::CallbackInfo& info) {
  Napi::Array result = Napi::Array::New(info.Env());
  std::vector<JobId> ids;
  if (JobHub* jobs = hub()) jobs->expire(uint32_of(info[0]), &ids);
  for (uint32_t i = 0; i < ids.size(); ++i) result.Set(i, number_of(ids[i]));
  return result;
}

// (whether they are refused)
void EngineWrap::refuse_jobs(const Napi::CallbackInfo& info) {
  if (JobHub* jobs = hub()) jobs->refuse(boolean_of(info[0]));
}

void EngineWrap::retire_worker(const Napi::CallbackInfo& info) {
  if (JobHub* jobs = hub()) jobs->retire(uint32_of(info[0]));
}

void EngineWrap::drain_jobs(const Napi::CallbackInfo&) {
  if (JobHub* jobs = hub()) jobs->drain();
}

void EngineWrap::close_jobs(const Napi::CallbackInfo&) {
  if (JobHub* jobs = hub()) jobs->close_jobs();
}

Napi::Value EngineWrap::job_stats(const Napi::CallbackInfo& info) {
  JobHub* jobs = hub();
  if (jobs == nullptr) return info.Env().Undefined();
  return describe_jobs(info.Env(), *jobs);
}

}  // namespace iocp
