#pragma once
// The threads that wait for disks, so that neither I/O threads nor the JavaScript thread ever do.
//
// Windows carries out many calls on files in the thread that makes them, overlapped or not: opening, closing, renaming,
// every write that makes a file of NTFS longer, and reads of compressed, encrypted, remote and placeholder files. So
// all of them are made here. One that does pend ends at the engine's port like any other operation.
//
// Threads are started when there is work for one more, and end with the engine.
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/disk_queue.h"
#include "win/sys/handles.h"
#include "win/sys/srw_lock.h"
#include "win/sys/win.h"

namespace iocp {

class IoContext;

class DiskPool final {
 public:
  DiskPool(IoContext* io, uint32_t threads) : io_(io), most_(threads) { threads_.reserve(threads + 1); }
  ~DiskPool() { end(); }
  DiskPool(const DiskPool&) = delete;
  DiskPool& operator=(const DiskPool&) = delete;

  // Any thread; a file's lock may be held.
  void schedule(DiskWork* work, DiskLane lane) {
    if (queue_.schedule(work, lane)) grow(lane);
  }
  // What it still has to do is only to end.
  void hurry(DiskWork* work) {
    if (queue_.hurry(work)) grow(DiskLane::end);
  }
  // Whether there is a thread at all. Before the first file.
  bool start();
  // Nothing is scheduled any more. Waits for the threads.
  void end();

  // A disk thread: what it does until the next call with false may be broken off by break_off().
  void set_breakable(bool breakable);
  // Any thread. What only somebody waits for who is leaving, opening files mostly, fails soon, now and from now on.
  void break_off();
  bool is_broken_off() const { return broken_off_.load(std::memory_order_acquire); }

  struct Stats {
    uint32_t threads;
    uint32_t running;
    uint32_t queued;
  };
  Stats stats();

 private:
  struct Thread {
    DiskPool* pool = nullptr;
    bool ends_only = false;
    uint32_t index = 0;
    bool breakable = false;  // under lock_
    DWORD id = 0;            // under lock_
    UniqueHandle handle;
  };
  static unsigned __stdcall entry(void* thread);
  void grow(DiskLane lane);
  bool add_locked(bool ends_only);

  IoContext* const io_;
  const uint32_t most_;
  DiskQueue<SrwLock, Condition> queue_;
  std::atomic<bool> full_{false};  // all threads there may be have been started
  std::atomic<bool> broken_off_{false};
  SrwLock lock_;
  std::vector<std::unique_ptr<Thread>> threads_;  // changed under lock_
  bool has_ends_thread_ = false;
  bool ended_ = false;
};

}  // namespace iocp
