#pragma once
// Every call on a socket that the engine makes, in one place: the seam under which test builds inject failures. Each
// returns 0 or the Winsock number; WSA_IO_PENDING means that a packet will follow. Those on files: file_calls.h.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "win/sys/completion_port.h"
#include "win/sys/extension_functions.h"
#include "win/sys/fault_seam.h"
#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {
namespace calls {

inline uint32_t last_error() { return static_cast<uint32_t>(WSAGetLastError()); }

inline uint32_t open_stream(int family, UniqueSocket* out) {
  IOCP_FAULT_POINT(socket);
  const SOCKET socket =
      WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
  if (socket == INVALID_SOCKET) return last_error();
  *out = UniqueSocket(socket);
  return 0;
}

inline uint32_t bind_to(SOCKET socket, const sockaddr* address, int size) {
  IOCP_FAULT_POINT(bind);
  return ::bind(socket, address, size) == 0 ? 0 : last_error();
}

// Nobody else may bind the port, nor take it over.
inline uint32_t set_exclusive(SOCKET socket) {
  IOCP_FAULT_POINT(exclusive);
  const DWORD on = 1;
  const int rc = setsockopt(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, reinterpret_cast<const char*>(&on), sizeof(on));
  return rc == 0 ? 0 : last_error();
}

// IPv4 too, or not.
inline uint32_t set_v6_only(SOCKET socket, bool on) {
  IOCP_FAULT_POINT(v6_only);
  const DWORD value = on ? 1 : 0;
  const int rc = setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, reinterpret_cast<const char*>(&value), sizeof(value));
  return rc == 0 ? 0 : last_error();
}

// An option without which a socket works too.
template <class Value>
inline bool set_option(SOCKET socket, int level, int name, Value value) {
  IOCP_FAULT_POINT_OR(option, false);
  return setsockopt(socket, level, name, reinterpret_cast<const char*>(&value), static_cast<int>(sizeof(value))) == 0;
}

// The same for the keep-alive of Windows before 10 1709.
inline void set_keep_alive_values(SOCKET socket, tcp_keepalive values) {
  IOCP_FAULT_POINT_OR(option, );
  DWORD bytes = 0;
  (void)WSAIoctl(socket, SIO_KEEPALIVE_VALS, &values, sizeof(values), nullptr, 0, &bytes, nullptr, nullptr);
}

// Local ports are shared between peers where the system can, which makes the ephemeral range last longer.
inline void share_local_port(SOCKET socket) {
  IOCP_FAULT_POINT_OR(share_port, );
  const DWORD share = 1;
  (void)setsockopt(socket, SOL_SOCKET, SO_REUSE_UNICASTPORT, reinterpret_cast<const char*>(&share), sizeof(share));
}

inline uint32_t local_address(SOCKET socket, sockaddr* address, int* size) {
  IOCP_FAULT_POINT(local_address);
  return getsockname(socket, address, size) == 0 ? 0 : last_error();
}

inline uint32_t start_listening(SOCKET socket, int backlog) {
  IOCP_FAULT_POINT(listen);
  return ::listen(socket, backlog) == 0 ? 0 : last_error();
}

inline uint32_t set_no_delay(SOCKET socket) {
  IOCP_FAULT_POINT(no_delay);
  const DWORD on = 1;
  const int rc = setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof(on));
  return rc == 0 ? 0 : last_error();
}

inline uint32_t read_no_delay(SOCKET socket, bool* on) {
  IOCP_FAULT_POINT(read_no_delay);
  DWORD value = 0;
  int size = sizeof(value);
  if (getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<char*>(&value), &size) != 0) return last_error();
  *on = value != 0;
  return 0;
}

inline uint32_t accept_into(const CompletionPort& port, SOCKET listener, SOCKET accepted, void* addresses,
                            DWORD address_size, OVERLAPPED* operation) {
  IOCP_FAULT_POINT(accept);
  IOCP_FAULT_LATER(accept, port, operation);
  DWORD received = 0;
  // No first data (length 0): a silent client would hold the accept.
  const BOOL ok = extension_functions().accept_ex(listener, accepted, addresses, 0, address_size, address_size,
                                                  &received, operation);
  return ok ? 0 : last_error();
}

inline uint32_t update_accept_context(SOCKET accepted, SOCKET listener) {
  IOCP_FAULT_POINT(accept_context);
  const int rc = setsockopt(accepted, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, reinterpret_cast<const char*>(&listener),
                            sizeof(listener));
  return rc == 0 ? 0 : last_error();
}

// From listen() on the system leaves it to WSAAccept whether a handshake is completed. Wine does not know the option.
inline uint32_t set_conditional_accept(SOCKET socket) {
  IOCP_FAULT_POINT(conditional);
  IOCP_FAULT_PRETEND(conditional);
  const DWORD on = 1;
  const int rc = setsockopt(socket, SOL_SOCKET, SO_CONDITIONAL_ACCEPT, reinterpret_cast<const char*>(&on), sizeof(on));
  return rc == 0 ? 0 : last_error();
}

// The event is set when a peer wants to connect. Makes the socket non-blocking.
inline uint32_t select_accepts(SOCKET socket, HANDLE event) {
  return WSAEventSelect(socket, event, FD_ACCEPT) == 0 ? 0 : last_error();
}

// The socket is non-blocking: WSAEWOULDBLOCK when nobody wants to connect. `decide` is called by this thread, before
// this returns, with the address of the peer.
inline uint32_t accept_if(SOCKET listener, LPCONDITIONPROC decide, void* context, UniqueSocket* accepted) {
  IOCP_FAULT_POINT(conditional_accept);
  sockaddr_storage address;
  int size = sizeof(address);
  const SOCKET socket =
      WSAAccept(listener, reinterpret_cast<sockaddr*>(&address), &size, decide, reinterpret_cast<DWORD_PTR>(context));
  if (socket == INVALID_SOCKET) return last_error();
  *accepted = UniqueSocket(socket);
  // It has the listener's event, and programs that are started inherit it; other accepted sockets have neither.
  (void)WSAEventSelect(socket, nullptr, 0);
  (void)SetHandleInformation(accepted->handle(), HANDLE_FLAG_INHERIT, 0);
  return 0;
}

// A connect to a port of this machine where nobody listens fails immediately instead of after 2 s: the system sends
// the SYN once, not three times. A failure only leaves it slow.
inline uint32_t send_one_syn(SOCKET socket) {
  IOCP_FAULT_POINT(one_syn);
  if (!extension_functions().can_send_one_syn) return WSAEOPNOTSUPP;
  TCP_INITIAL_RTO_PARAMETERS values{};
  values.Rtt = TCP_INITIAL_RTO_UNSPECIFIED_RTT;
  values.MaxSynRetransmissions = TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS;
  DWORD bytes = 0;
  const int rc = WSAIoctl(socket, SIO_TCP_INITIAL_RTO, &values, sizeof(values), nullptr, 0, &bytes, nullptr, nullptr);
  return rc == 0 ? 0 : last_error();
}

inline uint32_t connect_to(const CompletionPort& port, SOCKET socket, const sockaddr* address, int size,
                           OVERLAPPED* operation) {
  IOCP_FAULT_POINT(connect);
  IOCP_FAULT_LATER(connect, port, operation);
  const BOOL ok = extension_functions().connect_ex(socket, address, size, nullptr, 0, nullptr, operation);
  return ok ? 0 : last_error();
}

inline uint32_t update_connect_context(SOCKET socket) {
  IOCP_FAULT_POINT(connect_context);
  const int rc = setsockopt(socket, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, nullptr, 0);
  return rc == 0 ? 0 : last_error();
}

// Completes when there is something to read; no memory is locked meanwhile.
inline uint32_t await_readable(const CompletionPort& port, SOCKET socket, OVERLAPPED* operation) {
  IOCP_FAULT_POINT(zero_read);
  IOCP_FAULT_LATER(zero_read, port, operation);
  // A real address: layered providers and filters have been seen to look at it although the length is 0.
  static char nowhere;
  WSABUF nothing{0, &nowhere};
  DWORD flags = 0;
  DWORD bytes = 0;
  const int rc = WSARecv(socket, &nothing, 1, &bytes, &flags, operation, nullptr);
  return rc == 0 ? 0 : last_error();
}

inline uint32_t receive(const CompletionPort& port, SOCKET socket, uint8_t* data, size_t size, DWORD* bytes,
                        OVERLAPPED* operation) {
  IOCP_FAULT_POINT(receive);
  IOCP_FAULT_LATER(receive, port, operation);
  WSABUF buffer{IOCP_FAULT_SHORTEN(receive, static_cast<ULONG>(size)), reinterpret_cast<char*>(data)};
  DWORD flags = 0;
  const int rc = WSARecv(socket, &buffer, 1, bytes, &flags, operation, nullptr);
  return rc == 0 ? 0 : last_error();
}

// From now on calls without an OVERLAPPED do not wait; those with one are not affected.
inline uint32_t make_non_blocking(SOCKET socket) {
  IOCP_FAULT_POINT(non_blocking);
  u_long non_blocking = 1;
  return ioctlsocket(socket, static_cast<long>(FIONBIO), &non_blocking) == 0 ? 0 : last_error();
}

// How many bytes can be read without waiting; 0 where the system does not say.
inline uint32_t unread_bytes(SOCKET socket) {
  IOCP_FAULT_POINT_OR(unread, 0);
  u_long bytes = 0;
  return ioctlsocket(socket, static_cast<long>(FIONREAD), &bytes) == 0 ? bytes : 0;
}

// The socket is non-blocking: WSAEWOULDBLOCK when nothing is there.
inline uint32_t receive_now(SOCKET socket, uint8_t* data, size_t size, DWORD* bytes) {
  IOCP_FAULT_POINT(receive_now);
  WSABUF buffer{IOCP_FAULT_SHORTEN(receive_now, static_cast<ULONG>(size)), reinterpret_cast<char*>(data)};
  DWORD flags = 0;
  const int rc = WSARecv(socket, &buffer, 1, bytes, &flags, nullptr, nullptr);
  return rc == 0 ? 0 : last_error();
}

inline uint32_t send(const CompletionPort& port, SOCKET socket, WSABUF* buffers, DWORD count, DWORD* bytes,
                     OVERLAPPED* operation) {
  IOCP_FAULT_POINT(send);
  IOCP_FAULT_LATER(send, port, operation);
#ifdef IOCP_FAULT_SEAM
  const ULONG first = IOCP_FAULT_SHORTEN(send, buffers[0].len);
  if (first < buffers[0].len) {
    buffers[0].len = first;
    count = 1;
  }
#endif
  const int rc = WSASend(socket, buffers, count, bytes, 0, operation, nullptr);
  return rc == 0 ? 0 : last_error();
}

// The head, then `size` bytes of the file from the operation's offset. No flags: the work is the
// system's, and tied to no thread of ours.
inline uint32_t transmit_file(const CompletionPort& port, SOCKET socket, HANDLE file, DWORD size, const uint8_t* head,
                              size_t head_size, OVERLAPPED* operation) {
#ifdef IOCP_FAULT_SEAM
  if (!fault::passes(fault::Call::transmit_file)) {
    const uint32_t error = last_error();
    // A packet comes all the same, as it may in Wine; with or without the status, and maybe before this returns.
    const uint32_t late = fault::delay(fault::Call::transmit_file);
    if (fault::has_delay(fault::Call::transmit_file)) {
      const uint32_t status = error == ERROR_HANDLE_EOF ? 0xC0000011 : 0xC000020D;  // END_OF_FILE, CONNECTION_RESET
      operation->Internal = late % 2 == 0 ? static_cast<uint32_t>(STATUS_PENDING) : status;
      (void)port.post(operation);
      Sleep(late);
    }
    return error;
  }
#endif
  IOCP_FAULT_LATER(transmit_file, port, operation);
  const DWORD wanted = IOCP_FAULT_SHORTEN(transmit_file, size);
  TRANSMIT_FILE_BUFFERS buffers{const_cast<uint8_t*>(head), static_cast<DWORD>(head_size), nullptr, 0};
  const BOOL ok =
      extension_functions().transmit_file(socket, file, wanted, 0, operation, head_size == 0 ? nullptr : &buffers, 0);
  return ok ? 0 : last_error();
}

// Test builds: widens the time between the wish for a timer and the timer.
inline void wait_before_arming() {
#ifdef IOCP_FAULT_SEAM
  if (const uint32_t late = fault::delay(fault::Call::arm)) Sleep(late);
#endif
}

// Test builds: ends the process when something is not so that nobody could see otherwise.
inline void check(bool is_so) {
#ifdef IOCP_FAULT_SEAM
  if (!is_so) std::abort();
#else
  (void)is_so;
#endif
}

// The same for a socket that ought to have TCP_NODELAY.
inline void check_no_delay(SOCKET socket) {
#ifdef IOCP_FAULT_SEAM
  DWORD value = 0;
  int size = sizeof(value);
  const int rc = getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<char*>(&value), &size);
  check(rc != 0 || value != 0);
#else
  (void)socket;
#endif
}

inline uint32_t shutdown_send(SOCKET socket) {
  IOCP_FAULT_POINT(shutdown);
  return ::shutdown(socket, SD_SEND) == 0 ? 0 : last_error();
}

inline uint32_t associate(const CompletionPort& port, HANDLE handle) {
  IOCP_FAULT_POINT(associate);
  return port.associate(handle) ? 0 : GetLastError();
}

// Calls that succeed at once then leave no packet on the port. Only where every provider hands out real file handles
// (ExtensionFunctions::ifs_handles).
inline uint32_t skip_port_on_success(HANDLE socket) {
  IOCP_FAULT_POINT(skip_port);
  const UCHAR modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
  return SetFileCompletionNotificationModes(socket, modes) ? 0 : GetLastError();
}

inline bool post(const CompletionPort& port, OVERLAPPED* operation) {
  IOCP_FAULT_POINT_OR(post, false);
  return port.post(operation);
}

// Makes the next closesocket send RST and drop what was not sent.
inline void make_close_abortive(SOCKET socket) {
  IOCP_FAULT_POINT_OR(linger, );
  const linger abortive{1, 0};
  (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&abortive), sizeof(abortive));
}

// Ends every operation that is pending on the socket, each with its packet.
inline void cancel_all(HANDLE socket) {
  IOCP_FAULT_POINT_OR(cancel, );
  (void)CancelIoEx(socket, nullptr);
}

// Advice only: a peer that was faster is accepted, what was read before counts.
inline void cancel_one(HANDLE socket, OVERLAPPED* operation) {
  IOCP_FAULT_POINT_OR(cancel, );
  (void)CancelIoEx(socket, operation);
}

// Ends all operations of a socket and closes it. Closing alone would do on Windows; where a pending write keeps the
// socket alive beyond its handle (Wine) its operations would never end.
inline void cancel_and_close(UniqueSocket socket) {
  if (!socket) return;
  cancel_all(socket.handle());
  socket.reset();
}

}  // namespace calls
}  // namespace iocp
