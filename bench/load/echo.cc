// Scenario echo: every connection has `depth` messages under way. With a rate, messages are due at even intervals
// whatever comes back, and a latency counts from the moment at which its message was due.
#include "load/echo.h"

#include "load/clock.h"
#include "load/scenarios.h"

namespace bench {
namespace {

// With a rate: messages that a connection may have under way before it counts as stuck.
constexpr uint32_t kMostBehind = 4096;

uint32_t ring_size(const Options& options) {
  uint32_t size = 1;
  const uint32_t wanted = options.rate != 0 ? kMostBehind : options.depth;
  while (size < wanted) size *= 2;
  return size;
}

}  // namespace

EchoLoad::EchoLoad(const Options& options) : Load(options) {
  want_connections(options.connections);
  for (Link& link : links_) link.sent_ns.resize(ring_size(options));
}

uint64_t EchoLoad::on_turn(uint64_t now) {
  if (phase_ == Phase::connecting) {
    if (!all_greeted()) return now + to_ns(1);
    if (result_.refused + result_.errors != 0) {
      finish();
      return now;
    }
    begin(now);
  }
  if (phase_ == Phase::warming_up && now >= measure_from_) {
    phase_ = Phase::measuring;
    measured_from_ = now;
    say_phase("measuring");
  }
  if (phase_ == Phase::measuring && now >= measure_until_) {
    result_.seconds = static_cast<double>(now - measured_from_) / 1e9;
    finish();
    return now;
  }
  const uint64_t next = phase_ == Phase::measuring ? measure_until_ : measure_from_;
  if (options_.rate == 0) return next;
  send_due(now);
  return next_due_ < next ? next_due_ : next;
}

void EchoLoad::begin(uint64_t now) {
  phase_ = Phase::warming_up;
  measure_from_ = now + to_ns(options_.warm_up);
  measure_until_ = measure_from_ + to_ns(options_.seconds);
  for (Link& link : links_) link.expected = {options_.size, link.index, 0};
  if (options_.rate != 0) {
    interval_ = 1e9 / options_.rate;
    first_due_ = next_due_ = now;
    return;
  }
  for (Link& link : links_) {
    for (uint32_t i = 0; i < options_.depth; ++i) send_next(link, now);
    flush(link);
  }
}

void EchoLoad::send_due(uint64_t now) {
  while (next_due_ <= now) {
    Link& link = links_[due_count_ % links_.size()];
    if (link.state == Link::State::open) {
      if (link.sent - link.received >= kMostBehind) return fail(link);
      send_next(link, next_due_);
      flush(link);
    }
    ++due_count_;
    next_due_ = first_due_ + static_cast<uint64_t>(static_cast<double>(due_count_) * interval_);
  }
}

void EchoLoad::send_next(Link& link, uint64_t now) {
  link.sent_at(link.sent) = now;
  send(link, {options_.size, link.index, link.sent});
  ++link.sent;
}

void EchoLoad::on_message(Link& link) {
  const uint64_t now = now_ns();
  if (phase_ == Phase::measuring) {
    ++result_.messages;
    result_.latency.add(now - link.sent_at(link.received));
  }
  ++link.received;
  link.expected.number = link.received;
  if (options_.rate == 0) send_next(link, now);
}

}  // namespace bench
