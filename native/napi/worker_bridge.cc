#include "napi/worker_bridge.h"

#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>

namespace iocp {
namespace {

// After so much time with jobs the worker's event loop gets a turn.
constexpr auto kTurnTime = std::chrono::milliseconds(8);
constexpr auto kSameTurn = std::chrono::milliseconds(1);

}  // namespace

WorkerBridge::WorkerBridge(napi_env env, std::shared_ptr<JobHub> hub, uint32_t number,
                           uint32_t capacity)
    : env_(env), hub_(std::move(hub)) {
  seat_.number = number;
  seat_.capacity = capacity;
}

bool WorkerBridge::open(Napi::Function on_batch) {
  Napi::Uint32Array control = Napi::Uint32Array::New(env_, kProgressWord + 1);
  control_ = Napi::Persistent(control);
  control_.SuppressDestruct();  // given back in close(), on the JavaScript thread
  control_words_ = control.Data();
  on_batch_ = Napi::Persistent(on_batch);
  on_batch_.SuppressDestruct();
  auto* self = new std::shared_ptr<WorkerBridge>(shared_from_this());
  const napi_status status = napi_create_threadsafe_function(
      env_, on_batch, nullptr, Napi::String::New(env_, "iocp worker"), 0, 1, self, &finalize, self,
      &call_js, &function_);
  if (status != napi_ok) delete self;
  seat_.waker = shared_from_this();
  if (status == napi_ok && hub_->attach(&seat_)) {
    submission_ =
        std::make_unique<SubmissionBridge>(Napi::Env(env_), WorkerSide{hub_.get(), &seat_});
    wake();  // a seat begins awake
    return true;
  }
  release_all();
  return false;
}

void WorkerBridge::close() {
  if (!is_open()) return;
  std::vector<uint32_t> unstarted;
  if (in_batch_) {
    for (size_t i = control_words_[kProgressWord]; i < turn_.jobs.size(); ++i) {
      unstarted.push_back(turn_.jobs[i].id.slot);
    }
  }
  hub_->detach(&seat_, unstarted);
  submission_->close();
  submission_.reset();
  release_all();
}

void WorkerBridge::release_all() {
  seat_.waker.reset();
  control_.Reset();
  on_batch_.Reset();
  napi_threadsafe_function function = nullptr;
  {
    std::lock_guard<SrwLock> guard(function_lock_);
    function = std::exchange(function_, nullptr);
  }
  if (function != nullptr) (void)napi_release_threadsafe_function(function, napi_tsfn_abort);
}

void WorkerBridge::finalize(napi_env, void* data, void*) {
  delete static_cast<std::shared_ptr<WorkerBridge>*>(data);
}

void WorkerBridge::wake() {
  // The lock keeps close() from giving the function back meanwhile. The call only puts a message into
  // the worker's event loop; at most one of ours is in it, but for a few after time ran out.
  std::lock_guard<SrwLock> guard(function_lock_);
  if (function_ == nullptr) return;
  (void)napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void WorkerBridge::call_js(napi_env env, napi_value callback, void* context, void*) {
  if (env == nullptr || callback == nullptr) return;
  const std::shared_ptr<WorkerBridge> self = *static_cast<std::shared_ptr<WorkerBridge>*>(context);
  self->drain();
}

void WorkerBridge::go_on() {
  turn_begun_ = Clock::now();
  drain();
}

void WorkerBridge::drain() {
  if (in_batch_) return;  // a handler has brought this about; the drain it runs in goes on
  // Node runs a thread-safe function that is called again at once within the same turn of the event
  // loop. What follows closely on the last drain therefore counts as the same turn.
  const Clock::time_point begun = Clock::now();
  if (begun - last_end_ > kSameTurn) turn_begun_ = begun;
  while (is_open()) {
    if (Clock::now() - turn_begun_ >= kTurnTime) {
      turn_.jobs.clear();
      turn_.aborts.clear();
      turn_.retire = false;
      (void)hand_over(env_);  // nothing: JavaScript calls go_on() in the next turn
      break;
    }
    hub_->take(&seat_, kMaxJobs, &turn_);
    if (turn_.jobs.empty() && turn_.aborts.empty() && !turn_.retire) break;
    const bool last = turn_.retire;
    in_batch_ = true;
    if (!hand_over(env_)) return;  // the environment is being torn down
    in_batch_ = false;
    if (last) break;
  }
  last_end_ = Clock::now();
}

// False when JavaScript cannot run any more.
bool WorkerBridge::hand_over(napi_env env) {
  Napi::HandleScope scope(env);
  size_t size = 0;
  for (const JobQueue::Taken& job : turn_.jobs) size += job.size;
  napi_value arguments[2];
  napi_value receiver = nullptr;
  void* payload = nullptr;
  if (napi_get_undefined(env, &receiver) != napi_ok) return false;
  arguments[1] = receiver;
  if (size != 0 && napi_create_arraybuffer(env, size, &payload, &arguments[1]) != napi_ok) {
    return false;
  }
  const uint32_t records = write_records(static_cast<uint8_t*>(payload));
  if (napi_create_uint32(env, records, &arguments[0]) != napi_ok) return false;
  const napi_status status =
      napi_call_function(env, receiver, on_batch_.Value(), 2, arguments, nullptr);
  if (status == napi_ok) return true;
  // Handlers' errors have become their jobs' errors; what comes here is an ordinary uncaught one.
  napi_value error = nullptr;
  if (status != napi_pending_exception ||
      napi_get_and_clear_last_exception(env, &error) != napi_ok) {
    return false;
  }
  return napi_fatal_exception(env, error) == napi_ok;
}

uint32_t WorkerBridge::write_records(uint8_t* payload) {
  uint32_t count = 0;
  const auto write = [&](const Record& record) {
    std::memcpy(control_words_ + count * kRecordWords, &record, sizeof(record));
    ++count;
  };
  control_words_[kProgressWord] = 0;
  // All fit: jobs of the batch and those to give up are all held by the seat, kMaxJobs at most.
  for (const uint32_t slot : turn_.aborts) {
    write({static_cast<uint32_t>(RecordKind::job_abort), 0, 0, 0, 0, slot});
  }
  uint32_t at = 0;
  for (const JobQueue::Taken& job : turn_.jobs) {
    const RecordKind kind = job.kind == JobKind::packet ? RecordKind::packet : RecordKind::job;
    write({static_cast<uint32_t>(kind), job.connection.slot, job.connection.generation, at,
           job.size, job.id.slot});
    if (job.size != 0) std::memcpy(payload + at, job.data, job.size);
    at += job.size;
  }
  if (turn_.retire) write({static_cast<uint32_t>(RecordKind::retire), 0, 0, 0, 0, 0});
  return count;
}

}  // namespace iocp
