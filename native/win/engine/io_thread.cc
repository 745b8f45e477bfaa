#include "win/engine/io_thread.h"

#include "core/error_table.h"
#include "win/engine/engine.h"
#include "win/sys/fault_seam.h"
#include "win/sys/threads.h"

namespace iocp {
namespace {

// The system may have no memory even for the answer to a wait: it is asked again a little later.
constexpr DWORD kFailedWaitMs = 10;

// Each entry has its own status; the dequeue succeeding says nothing about the operation.
uint32_t status_of(const OVERLAPPED_ENTRY& entry) {
  return winsock_error_from_ntstatus(static_cast<uint32_t>(entry.lpOverlapped->Internal));
}

}  // namespace

bool IoThread::start() {
  thread_ = start_thread(&entry, this);
  return static_cast<bool>(thread_);
}

void IoThread::join() {
  if (!thread_) return;
  WaitForSingleObject(thread_.get(), INFINITE);
  thread_.reset();
}

unsigned __stdcall IoThread::entry(void* self) {
  static_cast<IoThread*>(self)->run();
  return 0;
}

void IoThread::run() {
  name_this_thread(L"iocp I/O ", index_);
  const ThreadIdentity identity(engine_, index_ + 1);
  OVERLAPPED_ENTRY entries[kBatch];
  uint32_t quits = 0;
  while (quits == 0) {
    uint64_t wake_at = 0;
    const uint32_t timeout = engine_->begin_wait(index_, &wake_at);
    ULONG count = 0;
    const uint32_t failed = engine_->port().wait(entries, kBatch, &count, timeout);
    engine_->end_wait(wake_at);
    if (failed != 0) count = 0;
    if (failed != 0 && failed != WAIT_TIMEOUT) Sleep(kFailedWaitMs);
    if (count != 0) {
      engine_->count(Counter::dequeues, 1);
      engine_->count(Counter::completions, count);
    }
    for (ULONG i = 0; i < count; ++i) {
      if (entries[i].lpCompletionKey == CompletionPort::kQuitKey) {
        ++quits;  // sent once per thread, when nothing is pending any more
        continue;
      }
      Operation* operation = static_cast<Operation*>(entries[i].lpOverlapped);
#ifdef IOCP_FAULT_SEAM
      if (const uint32_t late = fault::delay(fault::Call::completion)) Sleep(late);
#endif
      operation->complete(status_of(entries[i]), entries[i].dwNumberOfBytesTransferred);
    }
    engine_->run_timers();
    engine_->end_turn(index_);
  }
  // One dequeue may bring the quit packets of other threads too.
  while (--quits != 0) engine_->post_quit();
}

}  // namespace iocp
