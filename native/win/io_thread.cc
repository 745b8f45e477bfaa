#include "win/io_thread.h"

#include <string>

#include "core/error_table.h"
#include "win/engine.h"
#include "win/fault_seam.h"

namespace iocp {
namespace {

// Reserved address space, like the main thread's; pages are committed as they are touched. Code of others runs on
// these threads too: layered providers, filters, tools that look in.
constexpr unsigned kStackBytes = 1024 * 1024;

// What debuggers, profilers and crash dumps show. Since Windows 10 1607; on other systems threads have no names.
void name_this_thread(uint32_t index) {
  using SetThreadDescriptionFunction = HRESULT(WINAPI*)(HANDLE, PCWSTR);
  const HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
  if (kernel == nullptr) return;
  const auto set_description = reinterpret_cast<SetThreadDescriptionFunction>(
      reinterpret_cast<void*>(GetProcAddress(kernel, "SetThreadDescription")));
  if (set_description == nullptr) return;
  const std::wstring name = L"iocp I/O " + std::to_wstring(index + 1);
  (void)set_description(GetCurrentThread(), name.c_str());
}

// Each entry has its own status; the dequeue succeeding says nothing about the operation.
uint32_t status_of(const OVERLAPPED_ENTRY& entry) {
  return winsock_error_from_ntstatus(static_cast<uint32_t>(entry.lpOverlapped->Internal));
}

}  // namespace

bool IoThread::start() {
  const uintptr_t handle = _beginthreadex(nullptr, kStackBytes, &entry, this,
                                          STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  thread_ = UniqueHandle(reinterpret_cast<HANDLE>(handle));
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
  name_this_thread(index_);
  const ThreadIdentity identity(engine_, index_ + 1);
  OVERLAPPED_ENTRY entries[kBatch];
  uint32_t quits = 0;
  while (quits == 0) {
    uint64_t wake_at = 0;
    const uint32_t timeout = engine_->begin_wait(&wake_at);
    ULONG count = 0;
    const bool any = engine_->port().wait(entries, kBatch, &count, timeout);
    engine_->end_wait(wake_at);
    if (!any) count = 0;  // a time-out
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
    engine_->end_turn();
  }
  // One dequeue may bring the quit packets of other threads too.
  while (--quits != 0) engine_->post_quit();
}

}  // namespace iocp
