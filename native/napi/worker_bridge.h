#pragma once
// One worker: its seat among the jobs, and its way into the JavaScript environment of its thread.
//
// Made, drained and closed on the worker's JavaScript thread; wake() runs on any thread. What wakes it
// (the queue) holds it, so that it outlives the last wake-up.
#include <cstdint>
#include <memory>
#include <vector>

#include <napi.h>

#include "napi/loop_waker.h"
#include "napi/submission_bridge.h"
#include "win/job_hub.h"

namespace iocp {

class WorkerBridge final : public JobWaker,
                           public LoopWaker::Target,
                           public std::enable_shared_from_this<WorkerBridge> {
 public:
  static constexpr uint32_t kMaxJobs = 256;  // per batch
  // Behind the records: how many jobs of the batch have been begun. Written by JavaScript.
  static constexpr uint32_t kProgressWord = 2 * kMaxJobs * kRecordWords;

  WorkerBridge(napi_env env, std::shared_ptr<JobHub> hub, uint32_t number, uint32_t capacity);
  WorkerBridge(const WorkerBridge&) = delete;
  WorkerBridge& operator=(const WorkerBridge&) = delete;

  // False when it is not wanted (any more); then nothing is left behind.
  bool open(Napi::Function on_batch, Napi::Function set_immediate);
  // At any moment. Jobs of the batch in hand that have not been begun wait again, others are lost.
  void close();
  bool is_open() const { return submission_ != nullptr; }

  void wake() override { waker_.wake(); }
  Napi::Uint32Array control() { return control_.Value(); }
  SubmissionBridge& submission() { return *submission_; }
  JobHub& hub() { return *hub_; }

 private:
  void release_all();
  // Takes jobs until there are none or its time is over.
  void drain(napi_env env) override;
  bool hand_over(napi_env env);
  uint32_t write_records(uint8_t* payload);

  napi_env const env_;
  const std::shared_ptr<JobHub> hub_;
  JobSeat seat_;
  std::unique_ptr<SubmissionBridge> submission_;  // null once closed
  Napi::Reference<Napi::Uint32Array> control_;
  uint32_t* control_words_ = nullptr;
  Napi::FunctionReference on_batch_;
  JobHub::Turn turn_;
  bool in_batch_ = false;
  LoopWaker waker_;
};

}  // namespace iocp
