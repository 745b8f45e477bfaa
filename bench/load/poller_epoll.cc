#ifndef _WIN32
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "load/clock.h"
#include "load/poller.h"

namespace bench {
namespace {

constexpr uint32_t kTimerTag = UINT32_MAX;
constexpr uint64_t kMillisecond = 1000 * 1000;

epoll_event event_for(uint32_t tag, bool want_write) {
  epoll_event event{};
  event.events = EPOLLIN | (want_write ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  event.data.u32 = tag;
  return event;
}

}  // namespace

struct Poller::State {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  // epoll_wait counts milliseconds, which is too coarse for sending at a rate.
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
};

Poller::Poller() : state_(new State) {
  epoll_event event = event_for(kTimerTag, false);
  epoll_ctl(state_->epoll, EPOLL_CTL_ADD, state_->timer, &event);
}

Poller::~Poller() {
  close(state_->epoll);
  close(state_->timer);
}

void Poller::add(Socket socket, uint32_t tag, bool want_write) {
  epoll_event event = event_for(tag, want_write);
  epoll_ctl(state_->epoll, EPOLL_CTL_ADD, static_cast<int>(socket), &event);
}

void Poller::change(Socket socket, uint32_t tag, bool want_write) {
  epoll_event event = event_for(tag, want_write);
  epoll_ctl(state_->epoll, EPOLL_CTL_MOD, static_cast<int>(socket), &event);
}

void Poller::remove(Socket socket, uint32_t) {
  epoll_ctl(state_->epoll, EPOLL_CTL_DEL, static_cast<int>(socket), nullptr);
}

size_t Poller::wait(Ready (&ready)[kMost], uint64_t until_ns) {
  const uint64_t now = now_ns();
  const uint64_t left = until_ns > now ? until_ns - now : 0;
  int timeout = static_cast<int>((left + kMillisecond - 1) / kMillisecond);
  if (left != 0 && left < 20 * kMillisecond) {
    itimerspec when{};
    when.it_value.tv_nsec = static_cast<long>(left);
    timerfd_settime(state_->timer, 0, &when, nullptr);
  }
  epoll_event events[kMost];
  const int count = epoll_wait(state_->epoll, events, kMost, timeout);
  size_t filled = 0;
  for (int i = 0; i < count; ++i) {
    if (events[i].data.u32 == kTimerTag) {
      uint64_t times = 0;
      (void)!read(state_->timer, &times, sizeof(times));
      continue;
    }
    const uint32_t what = events[i].events;
    ready[filled++] = {events[i].data.u32, (what & ~static_cast<uint32_t>(EPOLLOUT)) != 0, (what & EPOLLOUT) != 0};
  }
  return filled;
}

}  // namespace bench
#endif
