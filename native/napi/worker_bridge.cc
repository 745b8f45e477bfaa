#include "napi/worker_bridge.h"

#include <cstring>
#include <utility>

#include "napi/detached_call.h"

namespace iocp {

WorkerBridge::WorkerBridge(napi_env env, std::shared_ptr<JobHub> hub, uint32_t number,
                           uint32_t capacity)
    : env_(env), hub_(std::move(hub)), waker_(env, this) {
  seat_.number = number;
  seat_.capacity = capacity;
}

bool WorkerBridge::open(Napi::Function on_batch, Napi::Function set_immediate) {
  Napi::Uint32Array control = Napi::Uint32Array::New(env_, kProgressWord + 1);
  control_ = Napi::Persistent(control);
  control_.SuppressDestruct();  // given back in close(), on the JavaScript thread
  control_words_ = control.Data();
  on_batch_ = Napi::Persistent(on_batch);
  on_batch_.SuppressDestruct();
  seat_.waker = shared_from_this();
  if (waker_.open(std::shared_ptr<LoopWaker>(shared_from_this(), &waker_), "iocp worker",
                   set_immediate) &&
      hub_->attach(&seat_)) {
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
  waker_.close();
}

void WorkerBridge::drain(napi_env env) {
  const LoopWaker::Clock::time_point begun = LoopWaker::Clock::now();
  // A wake-up may still come when it has been told to go: it is told once.
  while (is_open() && !turn_.retire) {
    // The seat stays awake meanwhile, so that nobody counts on another wake-up.
    if (LoopWaker::Clock::now() - begun >= LoopWaker::kTurnTime) return waker_.go_on_later();
    hub_->take(&seat_, kMaxJobs, &turn_);
    if (turn_.jobs.empty() && turn_.aborts.empty() && !turn_.retire) return;
    control_words_[kProgressWord] = 0;
    in_batch_ = true;
    if (!hand_over(env)) return;  // the environment is being torn down
    in_batch_ = false;
  }
}

// False when JavaScript cannot run any more.
bool WorkerBridge::hand_over(napi_env env) {
  Napi::HandleScope scope(env);
  size_t size = 0;
  for (const JobQueue::Taken& job : turn_.jobs) size += job.size;
  napi_value arguments[2];
  void* payload = nullptr;
  if (napi_get_undefined(env, &arguments[1]) != napi_ok) return false;
  if (size != 0 && napi_create_arraybuffer(env, size, &payload, &arguments[1]) != napi_ok) {
    return false;
  }
  const uint32_t records = write_records(static_cast<uint8_t*>(payload));
  if (napi_create_uint32(env, records, &arguments[0]) != napi_ok) return false;
  // Handlers' errors have become their jobs' errors; what is thrown here is an ordinary uncaught one.
  return hand_over_detached(env, on_batch_.Value(), 2, arguments);
}

uint32_t WorkerBridge::write_records(uint8_t* payload) {
  uint32_t count = 0;
  const auto write = [&](const Record& record) {
    std::memcpy(control_words_ + count * kRecordWords, &record, sizeof(record));
    ++count;
  };
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
