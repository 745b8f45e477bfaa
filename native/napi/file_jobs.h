#pragma once
// What JavaScript has disk threads do: each is a promise that is kept on the JavaScript thread.
//
// Created, settled and closed on the JavaScript thread. A job is counted by its engine, which so does not report its
// end before every job has been told. Behind that end files can still be closed and renamed, until the engine is
// joined.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <napi.h>

#include "core/disk_queue.h"
#include "win/engine/engine.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class FileJobs final {
 public:
  struct Plan {
    const char* syscall = "";
    // Disk thread: 0, or the Win32 number.
    std::function<uint32_t()> work;
    // JavaScript thread, also when it has failed: gives back what it holds, and what the promise is kept with.
    std::function<Napi::Value(Napi::Env)> result;
    // Not worth beginning, nor waiting for, once everything is being cut off.
    bool breakable = false;
    DiskLane lane = DiskLane::work;
    // Makes a file that would stay behind if the process ended in the middle.
    bool creates = false;
  };

  FileJobs() = default;
  ~FileJobs();
  FileJobs(const FileJobs&) = delete;
  FileJobs& operator=(const FileJobs&) = delete;

  // A promise; empty, and nothing is begun, when the environment is being torn down.
  Napi::Value start(Napi::Env env, Engine* engine, Plan plan);
  // Keeps the promises of what has been done.
  void settle(napi_env env) {
    if (has_done_.load(std::memory_order_acquire)) settle_all(env);
  }
  // Waits until no job makes a file, though not for ever.
  void wait_for_creations();
  // The engine's threads have ended, and maybe JavaScript cannot run any more: nobody waits.
  void close();

 private:
  class Job;
  void done(Job* job, bool has_created);
  void settle_all(napi_env env);
  std::vector<Job*> take_done();

  SrwLock lock_;
  Condition created_;
  uint32_t creating_ = 0;  // under lock_
  std::vector<Job*> done_;
  std::atomic<bool> has_done_{false};
};

}  // namespace iocp
