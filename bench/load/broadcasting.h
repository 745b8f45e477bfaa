#pragma once
#include "load/load.h"

namespace bench {

// Scenario broadcast: the first connection sends a message, which has to reach all of them; then the next.
class BroadcastLoad final : public Load {
 public:
  explicit BroadcastLoad(const Options& options);

 private:
  void on_greeted(Link& link) override;
  void on_message(Link& link) override;
  uint64_t on_turn(uint64_t now) override;
  void next_round(uint64_t now);

  uint32_t round_ = 0;
  uint32_t arrived_ = 0;
  uint64_t began_ns_ = 0;  // of this round
  bool measuring_ = false;
  uint64_t measure_from_ = 0;
  uint64_t measured_from_ = 0;
};

}  // namespace bench
