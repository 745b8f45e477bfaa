#ifdef _WIN32
#include <winsock2.h>

#include "load/sockets.h"

namespace bench {
namespace {

Outcome outcome_of(int error) {
  if (error == 0) return Outcome::done;
  if (error == WSAEWOULDBLOCK) return Outcome::would_block;
  return error == WSAECONNREFUSED ? Outcome::refused : Outcome::failed;
}

Transfer transfer_of(int result) {
  if (result >= 0) return {Outcome::done, static_cast<size_t>(result)};
  return {outcome_of(WSAGetLastError()), 0};
}

SOCKET handle(Socket socket) { return static_cast<SOCKET>(socket); }

}  // namespace

void start_sockets() {
  WSADATA data;
  (void)WSAStartup(MAKEWORD(2, 2), &data);
}

Outcome start_connect(uint16_t port, Socket* out) {
  const SOCKET made = ::socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
  *out = made == INVALID_SOCKET ? kNoSocket : static_cast<Socket>(made);
  if (made == INVALID_SOCKET) return Outcome::failed;
  const BOOL yes = TRUE;
  (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&yes), sizeof(yes));
  u_long non_blocking = 1;
  (void)ioctlsocket(made, FIONBIO, &non_blocking);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int rc = ::connect(made, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  return rc == 0 ? Outcome::done : outcome_of(WSAGetLastError());
}

Outcome connect_outcome(Socket socket) {
  int error = 0;
  int size = sizeof(error);
  if (getsockopt(handle(socket), SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size) != 0) {
    error = WSAGetLastError();
  }
  return outcome_of(error);
}

Transfer receive(Socket socket, uint8_t* data, size_t size) {
  return transfer_of(::recv(handle(socket), reinterpret_cast<char*>(data), static_cast<int>(size), 0));
}

Transfer send(Socket socket, const uint8_t* data, size_t size) {
  return transfer_of(::send(handle(socket), reinterpret_cast<const char*>(data), static_cast<int>(size), 0));
}

void close_hard(Socket socket) {
  const linger hard{1, 0};
  (void)setsockopt(handle(socket), SOL_SOCKET, SO_LINGER, reinterpret_cast<const char*>(&hard), sizeof(hard));
  closesocket(handle(socket));
}

}  // namespace bench
#endif
