#ifdef _WIN32
#include <winsock2.h>

#include <vector>

#include "load/clock.h"
#include "load/poller.h"

namespace bench {

struct Poller::State {
  std::vector<WSAPOLLFD> sockets;  // by tag
  size_t next = 0;                 // where the last look ended, so that all get their turn
};

Poller::Poller() : state_(new State) {}
Poller::~Poller() = default;

void Poller::add(Socket socket, uint32_t tag, bool want_write) {
  if (tag >= state_->sockets.size()) state_->sockets.resize(tag + 1, {INVALID_SOCKET, 0, 0});
  state_->sockets[tag].fd = static_cast<SOCKET>(socket);
  change(socket, tag, want_write);
}

void Poller::change(Socket, uint32_t tag, bool want_write) {
  state_->sockets[tag].events = static_cast<SHORT>(POLLRDNORM | (want_write ? POLLWRNORM : 0));
}

void Poller::remove(Socket, uint32_t tag) { state_->sockets[tag] = {INVALID_SOCKET, 0, 0}; }

size_t Poller::wait(Ready (&ready)[kMost], uint64_t until_ns) {
  const uint64_t now = now_ns();
  const uint64_t left = until_ns > now ? until_ns - now : 0;
  std::vector<WSAPOLLFD>& sockets = state_->sockets;
  const int count = WSAPoll(sockets.data(), static_cast<ULONG>(sockets.size()), static_cast<INT>(left / (1000 * 1000)));
  size_t filled = 0;
  for (size_t looked = 0; count > 0 && looked < sockets.size() && filled < kMost; ++looked) {
    if (++state_->next >= sockets.size()) state_->next = 0;
    const SHORT what = sockets[state_->next].revents;
    if (sockets[state_->next].fd == INVALID_SOCKET || what == 0) continue;
    ready[filled++] = {static_cast<uint32_t>(state_->next), (what & ~POLLWRNORM) != 0, (what & POLLWRNORM) != 0};
  }
  return filled;
}

}  // namespace bench
#endif
