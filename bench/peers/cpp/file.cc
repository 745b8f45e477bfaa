// A bare TransmitFile loop: the thread does nothing else until the file is through.
#include <algorithm>

#include "peers/cpp/server.h"

namespace bench {
namespace {

constexpr LONGLONG kPiece = 1024 * 1024;

}  // namespace

bool transmit_file(SOCKET socket, const char* path) {
  const HANDLE file =
      CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr);
  if (file == INVALID_HANDLE_VALUE) return false;
  LARGE_INTEGER size{};
  bool ok = GetFileSizeEx(file, &size) != FALSE;
  for (LONGLONG at = 0; ok && at < size.QuadPart;) {
    const DWORD piece = static_cast<DWORD>((std::min)(kPiece, size.QuadPart - at));
    // Without an OVERLAPPED it goes on where the last one ended, and returns when it is through.
    ok = TransmitFile(socket, file, piece, 0, nullptr, nullptr, 0) != FALSE;
    at += piece;
  }
  CloseHandle(file);
  return ok;
}

}  // namespace bench
