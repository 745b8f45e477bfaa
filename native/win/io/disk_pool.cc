#include "win/io/disk_pool.h"

#include <mutex>

#include "win/io/io_context.h"
#include "win/sys/file_calls.h"
#include "win/sys/threads.h"

namespace iocp {

bool DiskPool::start() {
  std::lock_guard<SrwLock> guard(lock_);
  return !threads_.empty() || add_locked(false);
}

// More is queued than threads sleep. Where the system has no further thread, those that are there do it.
void DiskPool::grow(DiskLane lane) {
  if (full_.load(std::memory_order_acquire)) return;
  std::lock_guard<SrwLock> guard(lock_);
  if (threads_.size() < most_) {
    (void)add_locked(false);
  } else if (lane == DiskLane::end && !has_ends_thread_) {
    has_ends_thread_ = add_locked(true);
    if (has_ends_thread_) full_.store(true, std::memory_order_release);
  }
}

bool DiskPool::add_locked(bool ends_only) {
  if (ended_) return false;
  auto thread = std::make_unique<Thread>();
  thread->pool = this;
  thread->ends_only = ends_only;
  thread->index = static_cast<uint32_t>(threads_.size());
  unsigned id = 0;
  thread->handle = start_thread(&entry, thread.get(), &id);
  if (!thread->handle) return false;
  thread->id = id;
  threads_.push_back(std::move(thread));
  return true;
}

unsigned __stdcall DiskPool::entry(void* argument) {
  const Thread* const self = static_cast<Thread*>(argument);
  IoContext* const io = self->pool->io_;
  name_this_thread(L"iocp disk ", self->index);
  self->pool->queue_.run(self->ends_only, [io] { io->wake_if_needed(); });
  return 0;
}

void DiskPool::end() {
  queue_.stop();
  std::vector<std::unique_ptr<Thread>> threads;
  {
    std::lock_guard<SrwLock> guard(lock_);
    ended_ = true;
  }
  // They ask for the lock themselves; and another environment's thread may just be about to make one more, in vain.
  for (const auto& thread : threads_) WaitForSingleObject(thread->handle.get(), INFINITE);
  std::lock_guard<SrwLock> guard(lock_);
  threads.swap(threads_);
}

void DiskPool::set_breakable(bool breakable) {
  const DWORD self = GetCurrentThreadId();
  std::lock_guard<SrwLock> guard(lock_);
  for (const auto& thread : threads_) {
    if (thread->id == self) thread->breakable = breakable;
  }
}

void DiskPool::break_off() {
  broken_off_.store(true, std::memory_order_release);
  // With the lock, so that what a thread does next is not hit.
  std::lock_guard<SrwLock> guard(lock_);
  for (const auto& thread : threads_) {
    if (thread->breakable) calls::cancel_call_of_thread(thread->handle.get());
  }
}

DiskPool::Stats DiskPool::stats() {
  const auto depth = queue_.depth();
  std::lock_guard<SrwLock> guard(lock_);
  return {static_cast<uint32_t>(threads_.size()), static_cast<uint32_t>(depth.running),
          static_cast<uint32_t>(depth.queued)};
}

}  // namespace iocp
