#include "napi/worker_bridge.h"

#include <cstring>
#include <optional>
#include <utility>

#include "napi/detached_call.h"

namespace iocp {

WorkerBridge::WorkerBridge(napi_env env, std::shared_ptr<JobHub> hub, uint32_t number, uint32_t capacity)
    : env_(env), hub_(std::move(hub)), waker_(env, this) {
  slot_.number = number;
  slot_.capacity = capacity;
}

bool WorkerBridge::open(Napi::Function on_batch, Napi::Function set_immediate) {
  Napi::Uint32Array control = Napi::Uint32Array::New(env_, kProgressWord + 1);
  control_ = Napi::Persistent(control);
  control_.SuppressDestruct();  // given back in close(), on the JavaScript thread
  control_words_ = control.Data();
  Napi::ArrayBuffer small = Napi::ArrayBuffer::New(env_, kSmallBytes);
  small_ = Napi::Persistent(small);
  small_.SuppressDestruct();
  small_bytes_ = static_cast<uint8_t*>(small.Data());
  on_batch_ = Napi::Persistent(on_batch);
  on_batch_.SuppressDestruct();
  slot_.waker = shared_from_this();
  if (waker_.open(std::shared_ptr<LoopWaker>(shared_from_this(), &waker_), "iocp worker", set_immediate) &&
      hub_->attach(&slot_)) {
    submission_ = std::make_unique<SubmissionBridge>(Napi::Env(env_), WorkerSide{hub_.get(), &slot_});
    wake();  // a slot begins awake
    return true;
  }
  release_all();
  return false;
}

void WorkerBridge::close() {
  if (!is_open()) return;
  std::vector<uint32_t> unstarted;
  if (in_batch_ && has_unstarted()) unstarted.push_back(turn_.jobs.front().id.slot);
  hub_->detach(&slot_, unstarted);
  submission_->close();
  submission_.reset();
  release_all();
}

void WorkerBridge::release_all() {
  slot_.waker.reset();
  control_.Reset();
  small_.Reset();
  on_batch_.Reset();
  waker_.close();
}

void WorkerBridge::drain(napi_env env) {
  // A handler that turns the event loop itself: the outer drain takes what is left.
  if (in_batch_) return;
  drain_began_ = LoopWaker::Clock::now();
  is_over_ = false;
  bool once_more = false;
  std::optional<JobId> repeated;
  while (once_more || (!is_over_ && take())) {
    Napi::HandleScope scope(env);
    napi_value memory = nullptr;
    in_batch_ = true;
    // Handlers' errors have become their jobs' errors; what is thrown here is an ordinary uncaught one.
    // False: the environment is being torn down, and close() looks at what is in hand.
    if (!describe_turn(&memory) || !hand_over_detached(env, on_batch_.Value(), 1, &memory)) return;
    in_batch_ = false;
    // What was thrown may have kept JavaScript from the job in hand, which nobody else would ever begin.
    once_more = is_open() && has_unstarted() && !(turn_.jobs.front().id == repeated);
    if (once_more) repeated = turn_.jobs.front().id;
    turn_.aborts.clear();
  }
  is_over_ = true;
}

Napi::Value WorkerBridge::next(bool pending) {
  const Napi::Env env(env_);
  napi_value memory = nullptr;
  if (!in_batch_ || is_over_) return env.Undefined();
  if (pending && slot_.capacity > 1) {
    // Whatever is ready of that job goes on in a turn of the event loop, and not behind a job that takes long.
    is_over_ = true;
    hub_->publish_answers();
    waker_.go_on_later();
    return env.Undefined();
  }
  if (!take()) return env.Undefined();
  if (describe_turn(&memory)) return Napi::Value(env, memory);
  is_over_ = true;
  return env.Undefined();
}

// The worker stays awake as long as this is true, so that nobody counts on another wake-up.
bool WorkerBridge::take() {
  // A wake-up may still come when it has been told to go: it is told once.
  is_over_ = !is_open() || turn_.retire;
  if (is_over_) return false;
  if (LoopWaker::Clock::now() - drain_began_ >= LoopWaker::kTurnTime) {
    is_over_ = true;
    hub_->publish_answers();
    waker_.go_on_later();
    return false;
  }
  // One at a time: what it has not begun, another worker may begin.
  hub_->take(&slot_, 1, &turn_);
  control_words_[kProgressWord] = 0;
  is_over_ = turn_.jobs.empty() && turn_.aborts.empty() && !turn_.retire;
  return !is_over_;
}

// False when JavaScript cannot run any more.
bool WorkerBridge::describe_turn(napi_value* memory) {
  const size_t size = turn_.jobs.empty() ? 0 : turn_.jobs.front().size;
  void* payload = small_bytes_;
  if (size < kSmallBytes) {
    *memory = small_.Value();
  } else if (napi_create_arraybuffer(env_, size, &payload, memory) != napi_ok) {
    return false;
  }
  write_records(static_cast<uint8_t*>(payload));
  return true;
}

void WorkerBridge::write_records(uint8_t* payload) {
  uint32_t count = 0;
  const auto write = [&](const Record& record) {
    std::memcpy(control_words_ + count * kRecordWords, &record, sizeof(record));
    ++count;
  };
  // All fit: the job and those to give up are all held by the worker, kMaxJobs at most.
  for (const uint32_t slot : turn_.aborts) {
    write({static_cast<uint32_t>(RecordKind::job_abort), 0, 0, 0, 0, slot});
  }
  for (const JobQueue::Taken& job : turn_.jobs) {
    const RecordKind kind = job.kind == JobKind::packet ? RecordKind::packet : RecordKind::job;
    write({static_cast<uint32_t>(kind), job.connection.slot, job.connection.generation, 0, job.size, job.id.slot});
    if (job.size != 0) std::memcpy(payload, job.data, job.size);
  }
  if (turn_.retire) write({static_cast<uint32_t>(RecordKind::retire), 0, 0, 0, 0, 0});
  control_words_[kCountWord] = count;
}

}  // namespace iocp
