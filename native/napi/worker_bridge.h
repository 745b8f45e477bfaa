#pragma once
// One worker: its slot in the queue of jobs, and its way into the JavaScript environment of its thread.
//
// Made, drained and closed on the worker's JavaScript thread; wake() runs on any thread. What wakes it
// (the queue) holds it, so that it outlives the last wake-up.
#include <cstdint>
#include <memory>
#include <vector>

#include <napi.h>

#include "napi/loop_waker.h"
#include "napi/submission_bridge.h"
#include "win/jobs/job_hub.h"

namespace iocp {

class WorkerBridge final : public JobWaker,
                           public LoopWaker::Target,
                           public std::enable_shared_from_this<WorkerBridge> {
 public:
  static constexpr uint32_t kMaxJobs = 256;  // that a worker runs at a time
  // Behind the records, which are one job, those to give up, and the wish that it shall go.
  static constexpr uint32_t kCountWord = (kMaxJobs + 2) * kRecordWords;  // how many there are
  // Whether the job has been begun. Written by JavaScript.
  static constexpr uint32_t kProgressWord = kCountWord + 1;
  // Payloads below this share one block: JavaScript copies them before their handler runs.
  static constexpr size_t kSmallBytes = 8 * 1024;

  WorkerBridge(napi_env env, std::shared_ptr<JobHub> hub, uint32_t number, uint32_t capacity);
  WorkerBridge(const WorkerBridge&) = delete;
  WorkerBridge& operator=(const WorkerBridge&) = delete;

  // False when it is not wanted (any more); then nothing is left behind.
  bool open(Napi::Function on_batch, Napi::Function set_immediate);
  // At any moment. A job in hand that has not been begun waits again, others are lost.
  void close();
  bool is_open() const { return submission_ != nullptr; }

  void wake() override { waker_.wake(); }
  Napi::Uint32Array control() { return control_.Value(); }
  SubmissionBridge& submission() { return *submission_; }
  // When JavaScript has been at a job: the next one, where its bytes are; undefined when this call is over.
  // `pending`: the job's handler has given a promise, which is for the event loop.
  Napi::Value next(bool pending);
  JobHub& hub() { return *hub_; }

 private:
  void release_all();
  // Takes jobs one by one until there are none or its time is over. Called once for many of them: for the
  // others JavaScript calls next().
  void drain(napi_env env) override;
  bool take();
  // Whether there is a job in hand that JavaScript has not begun.
  bool has_unstarted() const { return control_words_[kProgressWord] < turn_.jobs.size(); }
  bool describe_turn(napi_value* memory);
  void write_records(uint8_t* payload);

  napi_env const env_;
  const std::shared_ptr<JobHub> hub_;
  WorkerSlot slot_;
  std::unique_ptr<SubmissionBridge> submission_;  // null once closed
  Napi::Reference<Napi::Uint32Array> control_;
  uint32_t* control_words_ = nullptr;
  Napi::Reference<Napi::ArrayBuffer> small_;  // of kSmallBytes
  uint8_t* small_bytes_ = nullptr;
  Napi::FunctionReference on_batch_;
  JobHub::Turn turn_;
  bool in_batch_ = false;  // JavaScript is at turn_
  bool is_over_ = true;    // this drain takes no more
  LoopWaker::Clock::time_point drain_began_;
  LoopWaker waker_;
};

}  // namespace iocp
