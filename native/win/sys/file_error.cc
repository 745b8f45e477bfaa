#include "win/sys/file_error.h"

#include "core/error_table.h"
#include "win/sys/win.h"

namespace iocp {
namespace {

using StatusToError = ULONG(WINAPI*)(LONG status);

// No import library has it everywhere.
StatusToError find_function() {
  const HMODULE library = GetModuleHandleW(L"ntdll.dll");
  if (library == nullptr) return nullptr;
  return reinterpret_cast<StatusToError>(reinterpret_cast<void*>(GetProcAddress(library, "RtlNtStatusToDosError")));
}

}  // namespace

uint32_t file_error_from_ntstatus(uint32_t status) {
  if (static_cast<int32_t>(status) >= 0) return 0;
  static const StatusToError convert = find_function();
  return convert != nullptr ? convert(static_cast<LONG>(status)) : winsock_error_from_ntstatus(status);
}

}  // namespace iocp
