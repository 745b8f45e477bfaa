#pragma once

#include <cstdint>

namespace iocp {

struct ErrorInfo {
  uint32_t code;        // Winsock or Win32 number
  const char* name;     // Node's name where Node has one ("ECONNRESET")
  const char* message;  // one sentence: what happened and, where it helps, what to do
};

// Numbers the core itself compares with; everything else stays in the table.
enum : uint32_t {
  kErrorSuccess = 0,
  kErrorNotEnoughMemory = 8,
  kErrorHandleEof = 38,
  kErrorNetnameDeleted = 64,
  kErrorSemTimeout = 121,
  kErrorOperationAborted = 995,
  kErrorIoPending = 997,
  kErrorNotFound = 1168,
  kErrorNoSystemResources = 1450,
  kWsaEmfile = 10024,
  kWsaEwouldblock = 10035,
  kWsaEconnaborted = 10053,
  kWsaEconnreset = 10054,
  kWsaEnobufs = 10055,
  kWsaEtimedout = 10060,
  kWsaEconnrefused = 10061,
};

// Never fails: a number that is not in the table gives the "UNKNOWN" entry (whose code is 0).
const ErrorInfo& error_info(uint32_t win_code);

// The Internal field of a completed OVERLAPPED is an NTSTATUS. Returns 0 for success, else the
// Winsock (or, for the file under a TransmitFile, Win32) number WSAGetLastError would have given.
uint32_t winsock_error_from_ntstatus(uint32_t status);

// Windows reports the violent end of an established connection as any of several numbers. They mean
// WSAECONNRESET, as in Node, unless this side had closed the socket itself (`closed_locally`): then
// they mean that the operation was cancelled. Other numbers come back unchanged.
uint32_t established_connection_error(uint32_t win_code, bool closed_locally);

// Shortage of memory or handles that may pass: worth a bounded retry, not a reason to close.
bool is_resource_shortage(uint32_t win_code);

}  // namespace iocp
