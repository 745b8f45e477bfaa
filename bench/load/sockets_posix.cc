#ifndef _WIN32
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "load/sockets.h"

namespace bench {
namespace {

Outcome outcome_of(int error) {
  if (error == 0) return Outcome::done;
  if (error == EAGAIN || error == EWOULDBLOCK || error == EINPROGRESS || error == EINTR) {
    return Outcome::would_block;
  }
  return error == ECONNREFUSED ? Outcome::refused : Outcome::failed;
}

Transfer transfer_of(ssize_t result) {
  if (result >= 0) return {Outcome::done, static_cast<size_t>(result)};
  return {outcome_of(errno), 0};
}

int fd(Socket socket) { return static_cast<int>(socket); }

}  // namespace

void start_sockets() { std::signal(SIGPIPE, SIG_IGN); }

Outcome start_connect(uint16_t port, Socket* out) {
  *out = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (*out < 0) return Outcome::failed;
  const int yes = 1;
  (void)setsockopt(fd(*out), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int rc = ::connect(fd(*out), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  return rc == 0 ? Outcome::done : outcome_of(errno);
}

Outcome connect_outcome(Socket socket) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd(socket), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return outcome_of(error);
}

Transfer receive(Socket socket, uint8_t* data, size_t size) { return transfer_of(::recv(fd(socket), data, size, 0)); }

Transfer send(Socket socket, const uint8_t* data, size_t size) {
  return transfer_of(::send(fd(socket), data, size, MSG_NOSIGNAL));
}

void close_hard(Socket socket) {
  const linger hard{1, 0};
  (void)setsockopt(fd(socket), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  ::close(fd(socket));
}

}  // namespace bench
#endif
