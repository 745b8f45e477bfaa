#pragma once
#include "load/load.h"

namespace bench {

class EchoLoad final : public Load {
 public:
  explicit EchoLoad(const Options& options);

 private:
  enum class Phase : uint8_t { connecting, warming_up, measuring };
  void on_message(Link& link) override;
  uint64_t on_turn(uint64_t now) override;
  void begin(uint64_t now);
  void send_due(uint64_t now);
  void send_next(Link& link, uint64_t now);

  Phase phase_ = Phase::connecting;
  uint64_t measure_from_ = 0;
  uint64_t measure_until_ = 0;
  uint64_t measured_from_ = 0;
  double interval_ = 0;
  uint64_t first_due_ = 0;
  uint64_t next_due_ = 0;
  uint64_t due_count_ = 0;
};

}  // namespace bench
