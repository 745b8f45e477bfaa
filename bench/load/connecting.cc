#include "load/connecting.h"

#include "load/clock.h"
#include "load/scenarios.h"

namespace bench {

ConnectLoad::ConnectLoad(const Options& options)
    : Load(options),
      holds_(options.scenario == Scenario::hold),
      first_part_(holds_ && options.first != 0 && options.first < options.connections) {
  want_connections(first_part_ ? options.first : options.connections);
}

void ConnectLoad::on_greeted(Link& link) { result_.latency.add(now_ns() - link.began_ns); }

uint64_t ConnectLoad::on_turn(uint64_t now) {
  if (began_ns_ == 0) {
    began_ns_ = now;
    if (!holds_) say_phase("measuring");
  }
  if (!all_greeted()) return now + to_ns(1);
  if (first_part_) {
    first_part_ = false;
    say_phase("first");
    wait_for_line();
    want_connections(options_.connections);
    return now_ns();
  }
  result_.messages = greeted();
  result_.seconds = static_cast<double>(now - began_ns_) / 1e9;
  if (holds_) {
    say_phase("all");
    wait_for_line();
  }
  finish();
  return now;
}

}  // namespace bench
