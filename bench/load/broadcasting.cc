#include "load/broadcasting.h"

#include "load/clock.h"
#include "load/scenarios.h"

namespace bench {

BroadcastLoad::BroadcastLoad(const Options& options) : Load(options) { want_connections(options.connections); }

void BroadcastLoad::on_greeted(Link& link) { link.expected = {options_.size, 0, 0}; }

void BroadcastLoad::on_message(Link& link) {
  if (measuring_) {
    ++result_.messages;
    result_.latency.add(now_ns() - began_ns_);
  }
  ++arrived_;
  link.expected.number = ++link.received;
}

uint64_t BroadcastLoad::on_turn(uint64_t now) {
  if (!all_greeted()) return now + to_ns(1);
  if (result_.refused + result_.errors != 0) {
    finish();
    return now;
  }
  if (began_ns_ == 0) {
    measure_from_ = now + to_ns(options_.warm_up);
  } else if (arrived_ < links_.size()) {
    return now + to_ns(1);
  }
  // Only whole rounds count.
  if (!measuring_ && now >= measure_from_) {
    measuring_ = true;
    measured_from_ = now;
    say_phase("measuring");
  } else if (measuring_ && now - measured_from_ >= to_ns(options_.seconds)) {
    result_.seconds = static_cast<double>(now - measured_from_) / 1e9;
    finish();
    return now;
  }
  next_round(now);
  return now + to_ns(1);
}

void BroadcastLoad::next_round(uint64_t now) {
  arrived_ = 0;
  began_ns_ = now;
  send(links_[0], {options_.size, 0, round_++});
  flush(links_[0]);
}

}  // namespace bench
