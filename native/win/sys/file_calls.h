#pragma once
// Every call on a file that the engine makes: disk threads, but for cancelling. Each returns 0 or the Win32 number;
// WSA_IO_PENDING means that a packet will follow. With fault points, as in socket_calls.h.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "win/sys/completion_port.h"
#include "win/sys/fault_seam.h"
#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {
namespace calls {

// From and to the operation's offset. 0: done, *bytes long, and no packet comes; WSA_IO_PENDING: one comes.
inline uint32_t file_call_result(BOOL ok, bool skips_port, const OVERLAPPED* operation, DWORD* bytes) {
  if (!ok) return GetLastError();
  if (!skips_port) return WSA_IO_PENDING;
  *bytes = static_cast<DWORD>(operation->InternalHigh);
  return 0;
}

inline uint32_t read_file(const CompletionPort& port, HANDLE file, bool skips_port, uint8_t* data, size_t size,
                          OVERLAPPED* operation, DWORD* bytes) {
  IOCP_FAULT_BLOCK(read_file);
  IOCP_FAULT_POINT(read_file);
  IOCP_FAULT_KEEP(read_file, operation);
  IOCP_FAULT_LATER(read_file, port, operation);
  const DWORD wanted = IOCP_FAULT_SHORTEN(read_file, static_cast<DWORD>(size));
  return file_call_result(ReadFile(file, data, wanted, nullptr, operation), skips_port, operation, bytes);
}

inline uint32_t write_file(const CompletionPort& port, HANDLE file, bool skips_port, const uint8_t* data, size_t size,
                           OVERLAPPED* operation, DWORD* bytes) {
  IOCP_FAULT_BLOCK(write_file);
  IOCP_FAULT_POINT(write_file);
  IOCP_FAULT_KEEP(write_file, operation);
  IOCP_FAULT_LATER(write_file, port, operation);
  return file_call_result(WriteFile(file, data, static_cast<DWORD>(size), nullptr, operation), skips_port, operation,
                          bytes);
}

// Test builds: what has come of a read for a hash.
inline uint32_t result_of_hash_read() {
  IOCP_FAULT_BLOCK(hash_read);
  IOCP_FAULT_POINT(hash_read);
  return 0;
}

// Advice only: the packet of the call comes all the same.
inline void cancel_file_call(const CompletionPort& port, HANDLE file, OVERLAPPED* operation) {
#ifdef IOCP_FAULT_SEAM
  if (uint32_t status = 0; fault::gives_back(operation, &status)) {
    operation->Internal = status;
    while (!port.post(operation)) Sleep(1);
    return;
  }
#endif
  (void)port;
  IOCP_FAULT_POINT_OR(cancel_file, );
  (void)CancelIoEx(file, operation);
}

// Room for `size` bytes.
inline uint32_t allocate_file(HANDLE file, uint64_t size) {
  IOCP_FAULT_BLOCK(allocate_file);
  IOCP_FAULT_POINT(allocate_file);
  FILE_ALLOCATION_INFO room;
  room.AllocationSize.QuadPart = static_cast<LONGLONG>(size);
  return SetFileInformationByHandle(file, FileAllocationInfo, &room, sizeof(room)) ? 0 : GetLastError();
}

inline uint32_t open_file(const wchar_t* path, DWORD access, DWORD share, DWORD disposition, DWORD flags,
                          UniqueHandle* out) {
  IOCP_FAULT_BLOCK(open_file);
  IOCP_FAULT_POINT(open_file);
  const HANDLE handle = CreateFileW(path, access, share, nullptr, disposition, flags, nullptr);
  if (handle == INVALID_HANDLE_VALUE) return GetLastError();
  *out = UniqueHandle(handle);
  return 0;
}

inline void close_file(UniqueHandle file) {
  if (!file) return;
  IOCP_FAULT_BLOCK(close_file);
  file.reset();
}

inline uint32_t query_size(HANDLE file, uint64_t* out) {
  IOCP_FAULT_POINT(query_size);
  LARGE_INTEGER size;
  if (!GetFileSizeEx(file, &size)) return GetLastError();
  *out = static_cast<uint64_t>(size.QuadPart);
  return 0;
}

inline uint32_t size_file(HANDLE file, uint64_t size) {
  IOCP_FAULT_BLOCK(size_file);
  IOCP_FAULT_POINT(size_file);
  FILE_END_OF_FILE_INFO end;
  end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
  return SetFileInformationByHandle(file, FileEndOfFileInfo, &end, sizeof(end)) ? 0 : GetLastError();
}

inline uint32_t move_file(const wchar_t* from, const wchar_t* to, bool replace) {
  IOCP_FAULT_BLOCK(move_file);
  IOCP_FAULT_POINT(move_file);
  return MoveFileExW(from, to, replace ? MOVEFILE_REPLACE_EXISTING : 0) ? 0 : GetLastError();
}

// What both kinds of rename by handle are told.
inline uint32_t rename_by_handle(HANDLE file, int how, DWORD flags, const std::wstring& to) {
  // The flags are where the older declaration has a BOOLEAN and bytes that nobody uses.
  static_assert(offsetof(FILE_RENAME_INFO, RootDirectory) >= sizeof(DWORD), "there is room for the flags");
  const size_t name_size = to.size() * sizeof(wchar_t);
  std::vector<uint8_t> memory(sizeof(FILE_RENAME_INFO) + name_size);
  auto* const info = reinterpret_cast<FILE_RENAME_INFO*>(memory.data());
  std::memcpy(info, &flags, sizeof(flags));
  info->FileNameLength = static_cast<DWORD>(name_size);
  std::memcpy(info->FileName, to.data(), name_size);
  const auto kind = static_cast<FILE_INFO_BY_HANDLE_CLASS>(how);
  return SetFileInformationByHandle(file, kind, info, static_cast<DWORD>(memory.size())) ? 0 : GetLastError();
}

// At once for everybody, also when somebody has the file open that is replaced.
inline uint32_t rename_posix(HANDLE file, const std::wstring& to, bool replace) {
  IOCP_FAULT_BLOCK(rename_posix);
  IOCP_FAULT_POINT(rename_posix);
  constexpr int kFileRenameInfoEx = 22;
  constexpr DWORD kReplaceIfExists = 1;
  constexpr DWORD kPosixSemantics = 2;
  return rename_by_handle(file, kFileRenameInfoEx, kPosixSemantics | (replace ? kReplaceIfExists : 0u), to);
}

inline uint32_t rename_file(HANDLE file, const std::wstring& to, bool replace) {
  IOCP_FAULT_BLOCK(rename_file);
  IOCP_FAULT_POINT(rename_file);
  return rename_by_handle(file, FileRenameInfo, replace ? 1u : 0u, to);
}

// What a read for a hash ends with.
inline uint32_t create_event(UniqueHandle* out) {
  IOCP_FAULT_POINT(event);
  *out = UniqueHandle(CreateEventW(nullptr, TRUE, FALSE, nullptr));
  return *out ? 0 : GetLastError();
}

// Whether it is on a disk: a pipe or a console has neither a size nor offsets.
inline bool is_on_disk(HANDLE file) {
  IOCP_FAULT_POINT_OR(file_type, false);
  return GetFileType(file) == FILE_TYPE_DISK;
}

// True when a call that succeeds at once leaves no packet.
inline bool skip_port_of_file(HANDLE file) {
  IOCP_FAULT_POINT_OR(skip_port, false);
  return SetFileCompletionNotificationModes(file, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS) != FALSE;
}

inline uint32_t file_information(HANDLE file, BY_HANDLE_FILE_INFORMATION* out) {
  IOCP_FAULT_POINT(file_information);
  return GetFileInformationByHandle(file, out) ? 0 : GetLastError();
}

// A temporary file goes with its last handle.
inline uint32_t set_temporary(HANDLE file, bool on) {
  IOCP_FAULT_POINT(temporary);
  FILE_DISPOSITION_INFO info;
  info.DeleteFile = on ? TRUE : FALSE;
  return SetFileInformationByHandle(file, FileDispositionInfo, &info, sizeof(info)) ? 0 : GetLastError();
}

inline uint32_t delete_file(const wchar_t* path) {
  IOCP_FAULT_POINT(delete_file);
  return DeleteFileW(path) ? 0 : GetLastError();
}

// The call on a file that the thread is in, if it is in one. Advice only.
inline void cancel_call_of_thread(HANDLE thread) {
  IOCP_FAULT_POINT_OR(cancel_disk, );
  (void)CancelSynchronousIo(thread);
}

// All calls of this process on the handle. Advice only.
inline void cancel_all_of_file(HANDLE file) {
  IOCP_FAULT_POINT_OR(cancel_file, );
  (void)CancelIoEx(file, nullptr);
}

}  // namespace calls
}  // namespace iocp
