#include "win/sys/threads.h"

#include <string>

#include "win/sys/fault_seam.h"

namespace iocp {
namespace {

// Reserved address space, like the main thread's; pages are committed as they are touched. Code of others runs on
// these threads too: layered providers, filters, tools that look in.
constexpr unsigned kStackBytes = 1024 * 1024;

}  // namespace

UniqueHandle start_thread(unsigned(__stdcall* entry)(void*), void* argument, unsigned* id) {
  IOCP_FAULT_POINT_OR(thread, UniqueHandle());
  return UniqueHandle(reinterpret_cast<HANDLE>(
      _beginthreadex(nullptr, kStackBytes, entry, argument, STACK_SIZE_PARAM_IS_A_RESERVATION, id)));
}

void name_this_thread(const wchar_t* kind, uint32_t index) {
  using SetThreadDescriptionFunction = HRESULT(WINAPI*)(HANDLE, PCWSTR);
  const HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
  if (kernel == nullptr) return;
  const auto set_description = reinterpret_cast<SetThreadDescriptionFunction>(
      reinterpret_cast<void*>(GetProcAddress(kernel, "SetThreadDescription")));
  if (set_description == nullptr) return;
  const std::wstring name = kind + std::to_wstring(index + 1);
  (void)set_description(GetCurrentThread(), name.c_str());
}

}  // namespace iocp
