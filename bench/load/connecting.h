#pragma once
#include "load/load.h"

namespace bench {

// Scenario connect: makes all connections, `window` at a time, each of them served when its first message has come
// back. Scenario hold: the same in two parts, and each part stays until a line comes on stdin.
class ConnectLoad final : public Load {
 public:
  explicit ConnectLoad(const Options& options);

 private:
  void on_greeted(Link& link) override;
  uint64_t on_turn(uint64_t now) override;

  const bool holds_;
  bool first_part_;
  uint64_t began_ns_ = 0;
};

}  // namespace bench
