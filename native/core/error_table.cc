#include "core/error_table.h"

#include <algorithm>
#include <cstddef>

namespace iocp {
namespace {

// Sorted by number; a static_assert below keeps it so. Names are what Node shows for the number.
#define IOCP_ERRORS(X)                                                                                            \
  X(1, "EISDIR", "The operation does not apply to this kind of file or handle")                                   \
  X(2, "ENOENT", "There is no such file")                                                                         \
  X(3, "ENOENT", "A folder in the path does not exist")                                                           \
  X(4, "EMFILE", "The process has too many open files; close some first")                                         \
  X(5, "EPERM", "Windows denied access to the file")                                                              \
  X(6, "EBADF", "The handle is not open any more")                                                                \
  X(8, "ENOMEM", "There is not enough memory")                                                                    \
  X(14, "ENOMEM", "There is not enough memory")                                                                   \
  X(15, "ENOENT", "The drive does not exist")                                                                     \
  X(17, "EXDEV", "The file cannot be moved to another volume; use a folder on the same one")                      \
  X(19, "EROFS", "The volume is write-protected")                                                                 \
  X(21, "EIO", "The drive is not ready")                                                                          \
  X(23, "EIO", "The disk reported damaged data")                                                                  \
  X(29, "EIO", "The device could not be written")                                                                 \
  X(30, "EIO", "The device could not be read")                                                                    \
  X(31, "EIO", "A device on the way of the data failed")                                                          \
  X(32, "EBUSY", "Another process has the file open and does not share it")                                       \
  X(33, "EBUSY", "Another process has locked a part of the file")                                                 \
  X(38, "EOF", "The end of the file was reached; it may have become shorter meanwhile")                           \
  X(39, "ENOSPC", "The disk is full")                                                                             \
  X(50, "ENOTSUP", "Windows does not support the request")                                                        \
  X(53, "ENOENT", "The network path was not found")                                                               \
  X(59, "EIO", "The network file system failed unexpectedly")                                                     \
  X(64, "ECONNRESET", "The connection was closed by the peer")                                                    \
  X(80, "EEXIST", "The file exists already")                                                                      \
  X(87, "EINVAL", "Windows rejected a parameter")                                                                 \
  X(109, "EOF", "The other end was closed")                                                                       \
  X(112, "ENOSPC", "The disk is full")                                                                            \
  X(121, "ETIMEDOUT", "The peer did not answer in time")                                                          \
  X(122, "EINVAL", "A buffer was too small for the answer of Windows")                                            \
  X(123, "ENOENT", "The name contains characters that Windows does not allow in file names")                      \
  X(145, "ENOTEMPTY", "The folder is not empty")                                                                  \
  X(161, "ENOENT", "The path is not valid")                                                                       \
  X(170, "EBUSY", "The resource is in use")                                                                       \
  X(183, "EEXIST", "The file exists already")                                                                     \
  X(206, "ENAMETOOLONG", "The file name or path is too long")                                                     \
  X(223, "EFBIG", "The file is larger than its file system allows")                                               \
  X(234, "EMSGSIZE", "There is more data than the buffer holds")                                                  \
  X(258, "ETIMEDOUT", "The wait ended before anything happened")                                                  \
  X(267, "ENOTDIR", "A part of the path is not a folder")                                                         \
  X(303, "EBUSY", "The file is about to be deleted")                                                              \
  X(735, "ECANCELED", "The completion port was closed during a wait")                                             \
  X(995, "ECANCELED", "The operation was cancelled, because its socket or file was closed")                       \
  X(996, "EAGAIN", "The operation has not ended yet")                                                             \
  X(997, "EAGAIN", "The operation goes on in the background")                                                     \
  X(998, "EACCES", "Windows could not access the memory of a buffer")                                             \
  X(1117, "EIO", "The device reported an input or output error")                                                  \
  X(1168, "ENOENT", "Nothing was found to which the request could apply")                                         \
  X(1225, "ECONNREFUSED", "The peer refused the connection; nothing listens at that port")                        \
  X(1226, "EOF", "The peer closed the connection")                                                                \
  X(1227, "EADDRINUSE", "The address is in use")                                                                  \
  X(1228, "EADDRNOTAVAIL", "The socket has no address yet")                                                       \
  X(1229, "ENOTCONN", "The socket is not connected")                                                              \
  X(1230, "EISCONN", "The socket is connected already")                                                           \
  X(1231, "ENETUNREACH", "There is no route to the network of the peer")                                          \
  X(1232, "EHOSTUNREACH", "There is no route to the peer")                                                        \
  X(1233, "ENETUNREACH", "The peer does not speak the protocol")                                                  \
  X(1234, "ECONNRESET", "Nothing listens at that port of the peer")                                               \
  X(1235, "ECANCELED", "The request was cancelled")                                                               \
  X(1236, "ECONNABORTED", "The connection was ended by this machine")                                             \
  X(1237, "EAGAIN", "The operation could not be done now; try again")                                             \
  X(1314, "EPERM", "The process lacks a privilege that this needs")                                               \
  X(1392, "EIO", "The file or folder is damaged")                                                                 \
  X(1450, "ENOBUFS", "Windows is short of system resources; have fewer operations pending")                       \
  X(1453, "ENOBUFS", "The working set of the process is too small for this many pending buffers")                 \
  X(1455, "ENOMEM", "Windows cannot commit more memory; the page file is too small")                              \
  X(1460, "ETIMEDOUT", "The operation did not end in time")                                                       \
  X(1784, "ENOBUFS", "Too many operations are pending; have fewer at a time")                                     \
  X(1816, "ENOBUFS", "The quota of the process does not allow more pending operations")                           \
  X(1920, "EACCES", "The file cannot be opened")                                                                  \
  X(1921, "ELOOP", "The path leads through too many links")                                                       \
  X(10004, "ECANCELED", "The call was interrupted")                                                               \
  X(10009, "EBADF", "The socket is not open any more")                                                            \
  X(10013, "EACCES", "The address may not be used; another process holds the port exclusively or it is reserved") \
  X(10014, "EFAULT", "Windows could not access the memory of a buffer")                                           \
  X(10022, "EINVAL", "Windows rejected a parameter or the socket is not in the right state")                      \
  X(10024, "EMFILE", "The process has too many open sockets; close some or lower maxConnections")                 \
  X(10035, "EAGAIN", "The operation could not be done now; try again")                                            \
  X(10036, "EINPROGRESS", "Another blocking call is in progress")                                                 \
  X(10037, "EALREADY", "The operation is in progress already")                                                    \
  X(10038, "ENOTSOCK", "The handle is not a socket")                                                              \
  X(10039, "EDESTADDRREQ", "The operation needs a destination address")                                           \
  X(10040, "EMSGSIZE", "The message is longer than the network or the buffer allows")                             \
  X(10041, "EPROTOTYPE", "The protocol does not fit the kind of socket")                                          \
  X(10042, "ENOPROTOOPT", "This version of Windows does not know the socket option")                              \
  X(10043, "EPROTONOSUPPORT", "The protocol is not installed")                                                    \
  X(10044, "ESOCKTNOSUPPORT", "This kind of socket is not supported for the address family")                      \
  X(10045, "ENOTSUP", "The socket does not support the operation")                                                \
  X(10046, "EPFNOSUPPORT", "The protocol family is not installed")                                                \
  X(10047, "EAFNOSUPPORT", "The address family is not supported; is IPv6 turned off here?")                       \
  X(10048, "EADDRINUSE", "Another socket uses the address and port already")                                      \
  X(10049, "EADDRNOTAVAIL", "The address does not belong to this machine or cannot be used")                      \
  X(10050, "ENETDOWN", "The network is down")                                                                     \
  X(10051, "ENETUNREACH", "There is no route to the network of the peer")                                         \
  X(10052, "ENETRESET", "Keep-alive found that the peer is gone")                                                 \
  X(10053, "ECONNABORTED", "The connection was ended by this machine")                                            \
  X(10054, "ECONNRESET", "The peer reset the connection")                                                         \
  X(10055, "ENOBUFS", "Windows is short of socket buffers or non-paged memory; have fewer operations pending")    \
  X(10056, "EISCONN", "The socket is connected already")                                                          \
  X(10057, "ENOTCONN", "The socket is not connected")                                                             \
  X(10058, "EPIPE", "This side of the connection was shut down before")                                           \
  X(10060, "ETIMEDOUT", "The peer did not answer in time")                                                        \
  X(10061, "ECONNREFUSED", "The peer refused the connection; nothing listens at that port")                       \
  X(10062, "ELOOP", "The name leads through too many links")                                                      \
  X(10063, "ENAMETOOLONG", "The name is too long")                                                                \
  X(10064, "EHOSTDOWN", "The peer is down")                                                                       \
  X(10065, "EHOSTUNREACH", "There is no route to the peer")                                                       \
  X(10067, "EAGAIN", "Windows Sockets serves too many processes; try again later")                                \
  X(10091, "ENETDOWN", "Windows Sockets is not ready")                                                            \
  X(10092, "ENOTSUP", "This Windows lacks Windows Sockets 2.2")                                                   \
  X(10093, "ENETDOWN", "Windows Sockets was not started")                                                         \
  X(10101, "EOF", "The peer closed the connection")                                                               \
  X(10106, "ENETDOWN", "A Windows Sockets provider could not be loaded; 'netsh winsock reset' may repair it")     \
  X(10110, "ECANCELED", "The call was cancelled")                                                                 \
  X(10111, "ECANCELED", "The call was cancelled")                                                                 \
  X(10112, "ECONNREFUSED", "The request was refused")                                                             \
  X(11001, "ENOTFOUND", "The host name does not exist")                                                           \
  X(11002, "EAI_AGAIN", "The name server did not answer; try again later")                                        \
  X(11003, "EAI_FAIL", "The name server failed")                                                                  \
  X(11004, "ENOTFOUND", "The host name has no address of the wanted kind")

constexpr ErrorInfo kErrors[] = {
#define IOCP_ERROR_ROW(code, name, message) {code, name, message},
    IOCP_ERRORS(IOCP_ERROR_ROW)
#undef IOCP_ERROR_ROW
};

constexpr size_t kErrorCount = sizeof(kErrors) / sizeof(kErrors[0]);

constexpr ErrorInfo kUnknown = {0, "UNKNOWN", "Windows reported an error that has no name here"};

constexpr bool errors_are_sorted() {
  for (size_t i = 1; i < kErrorCount; ++i) {
    if (kErrors[i - 1].code >= kErrors[i].code) return false;
  }
  return true;
}
static_assert(errors_are_sorted(), "error_info() searches the table by halves");

struct StatusRow {
  uint32_t status;
  uint32_t code;
};

// One row per NTSTATUS that TCP, or the file system under a TransmitFile, is known to give.
#define IOCP_STATUSES(X)                                \
  X(0x00000102, 10060) /* TIMEOUT */                    \
  X(0x00000103, 997)   /* PENDING */                    \
  X(0x80000005, 10040) /* BUFFER_OVERFLOW */            \
  X(0xC0000002, 10045) /* NOT_IMPLEMENTED */            \
  X(0xC0000005, 10014) /* ACCESS_VIOLATION */           \
  X(0xC0000007, 10055) /* PAGEFILE_QUOTA */             \
  X(0xC0000008, 10038) /* INVALID_HANDLE */             \
  X(0xC000000D, 10022) /* INVALID_PARAMETER */          \
  X(0xC000000E, 10050) /* NO_SUCH_DEVICE */             \
  X(0xC000000F, 10050) /* NO_SUCH_FILE */               \
  X(0xC0000011, 38)    /* END_OF_FILE */                \
  X(0xC0000017, 10055) /* NO_MEMORY */                  \
  X(0xC0000018, 10049) /* CONFLICTING_ADDRESSES */      \
  X(0xC0000022, 10013) /* ACCESS_DENIED */              \
  X(0xC0000023, 10014) /* BUFFER_TOO_SMALL */           \
  X(0xC0000024, 10038) /* OBJECT_TYPE_MISMATCH */       \
  X(0xC0000034, 10050) /* OBJECT_NAME_NOT_FOUND */      \
  X(0xC000003A, 10050) /* OBJECT_PATH_NOT_FOUND */      \
  X(0xC000003E, 23)    /* DATA_ERROR */                 \
  X(0xC000003F, 23)    /* CRC_ERROR */                  \
  X(0xC0000043, 10048) /* SHARING_VIOLATION */          \
  X(0xC0000044, 10055) /* QUOTA_EXCEEDED */             \
  X(0xC0000054, 33)    /* FILE_LOCK_CONFLICT */         \
  X(0xC000007F, 112)   /* DISK_FULL */                  \
  X(0xC0000097, 10055) /* TOO_MANY_PAGING_FILES */      \
  X(0xC000009A, 10055) /* INSUFFICIENT_RESOURCES */     \
  X(0xC00000A1, 10055) /* WORKING_SET_QUOTA */          \
  X(0xC00000A3, 10035) /* DEVICE_NOT_READY */           \
  X(0xC00000B0, 10058) /* PIPE_DISCONNECTED */          \
  X(0xC00000B5, 10060) /* IO_TIMEOUT */                 \
  X(0xC00000BB, 10045) /* NOT_SUPPORTED */              \
  X(0xC00000BC, 10061) /* REMOTE_NOT_LISTENING */       \
  X(0xC00000BE, 10051) /* BAD_NETWORK_PATH */           \
  X(0xC00000BF, 10050) /* NETWORK_BUSY */               \
  X(0xC00000C3, 10050) /* INVALID_NETWORK_RESPONSE */   \
  X(0xC00000C4, 10050) /* UNEXPECTED_NETWORK_ERROR */   \
  X(0xC00000D0, 10035) /* REQUEST_NOT_ACCEPTED */       \
  X(0xC0000120, 995)   /* CANCELLED */                  \
  X(0xC0000128, 10038) /* FILE_CLOSED */                \
  X(0xC000012D, 10055) /* COMMITMENT_LIMIT */           \
  X(0xC000013B, 10053) /* LOCAL_DISCONNECT */           \
  X(0xC000013C, 10054) /* REMOTE_DISCONNECT */          \
  X(0xC000013D, 10055) /* REMOTE_RESOURCES */           \
  X(0xC000013E, 10054) /* LINK_FAILED */                \
  X(0xC000013F, 10060) /* LINK_TIMEOUT */               \
  X(0xC0000140, 10057) /* INVALID_CONNECTION */         \
  X(0xC0000141, 10049) /* INVALID_ADDRESS */            \
  X(0xC0000184, 10022) /* INVALID_DEVICE_STATE */       \
  X(0xC0000185, 1117)  /* IO_DEVICE_ERROR */            \
  X(0xC0000206, 10040) /* INVALID_BUFFER_SIZE */        \
  X(0xC0000207, 10049) /* INVALID_ADDRESS_COMPONENT */  \
  X(0xC0000209, 10048) /* TOO_MANY_ADDRESSES */         \
  X(0xC000020A, 10048) /* ADDRESS_ALREADY_EXISTS */     \
  X(0xC000020B, 10049) /* ADDRESS_CLOSED */             \
  X(0xC000020C, 10054) /* CONNECTION_DISCONNECTED */    \
  X(0xC000020D, 10054) /* CONNECTION_RESET */           \
  X(0xC000020F, 10053) /* TRANSACTION_ABORTED */        \
  X(0xC0000236, 10061) /* CONNECTION_REFUSED */         \
  X(0xC0000237, 10101) /* GRACEFUL_DISCONNECT */        \
  X(0xC0000238, 10048) /* ADDRESS_ALREADY_ASSOCIATED */ \
  X(0xC0000239, 10049) /* ADDRESS_NOT_ASSOCIATED */     \
  X(0xC000023A, 10057) /* CONNECTION_INVALID */         \
  X(0xC000023B, 10056) /* CONNECTION_ACTIVE */          \
  X(0xC000023C, 10051) /* NETWORK_UNREACHABLE */        \
  X(0xC000023D, 10065) /* HOST_UNREACHABLE */           \
  X(0xC000023E, 10051) /* PROTOCOL_UNREACHABLE */       \
  X(0xC000023F, 10054) /* PORT_UNREACHABLE */           \
  X(0xC0000240, 995)   /* REQUEST_ABORTED */            \
  X(0xC0000241, 10053) /* CONNECTION_ABORTED */         \
  X(0xC000A012, 10054) /* HOPLIMIT_EXCEEDED */

constexpr StatusRow kStatuses[] = {
#define IOCP_STATUS_ROW(status, code) {status, code},
    IOCP_STATUSES(IOCP_STATUS_ROW)
#undef IOCP_STATUS_ROW
};

constexpr size_t kStatusCount = sizeof(kStatuses) / sizeof(kStatuses[0]);

constexpr bool statuses_are_sorted() {
  for (size_t i = 1; i < kStatusCount; ++i) {
    if (kStatuses[i - 1].status >= kStatuses[i].status) return false;
  }
  return true;
}
static_assert(statuses_are_sorted(), "winsock_error_from_ntstatus() searches the table by halves");

// An NTSTATUS of this facility carries a Win32 number in its low half; it comes with severity
// warning (like an HRESULT) or error.
constexpr bool wraps_win32_code(uint32_t status) {
  return (status & 0x80000000u) != 0 && (status & 0x0FFF0000u) == 0x00070000u;
}

}  // namespace

const ErrorInfo& error_info(uint32_t win_code) {
  const ErrorInfo* end = kErrors + kErrorCount;
  const ErrorInfo* row =
      std::lower_bound(kErrors, end, win_code, [](const ErrorInfo& info, uint32_t code) { return info.code < code; });
  return row != end && row->code == win_code ? *row : kUnknown;
}

uint32_t winsock_error_from_ntstatus(uint32_t status) {
  const StatusRow* end = kStatuses + kStatusCount;
  const StatusRow* row =
      std::lower_bound(kStatuses, end, status, [](const StatusRow& r, uint32_t wanted) { return r.status < wanted; });
  if (row != end && row->status == status) return row->code;
  // Severity success or informational (such as RECEIVE_PARTIAL): the operation did its work.
  if ((status & 0x80000000u) == 0) return kErrorSuccess;
  if (wraps_win32_code(status)) return status & 0xFFFFu;
  return 10022;  // WSAEINVAL, what Winsock gives for a status it does not know
}

uint32_t established_connection_error(uint32_t win_code, bool closed_locally) {
  switch (win_code) {
    case kErrorNetnameDeleted:
    case kErrorOperationAborted:
    case kWsaEconnaborted:
    case kWsaEconnreset:
    case 1236:   // ERROR_CONNECTION_ABORTED
    case 10004:  // WSAEINTR
    case 10038:  // WSAENOTSOCK: the socket was closed under the operation
    case 10057:  // WSAENOTCONN: the connection had been reset before the call
    case 10101:  // WSAEDISCON: the peer went without a word more
      return closed_locally ? kErrorOperationAborted : kWsaEconnreset;
    default:
      return win_code;
  }
}

bool is_resource_shortage(uint32_t win_code) {
  switch (win_code) {
    case kErrorNotEnoughMemory:
    case 14:  // ERROR_OUTOFMEMORY
    case kErrorNoSystemResources:
    case 1453:             // ERROR_WORKING_SET_QUOTA
    case 1455:             // ERROR_COMMITMENT_LIMIT
    case 1784:             // ERROR_INVALID_USER_BUFFER
    case 1816:             // ERROR_NOT_ENOUGH_QUOTA
    case kWsaEwouldblock:  // of an overlapped call: too many of them are outstanding
    case kWsaEmfile:
    case kWsaEnobufs:
      return true;
    default:
      return false;
  }
}

}  // namespace iocp
