#pragma once

#include "core/framing/prefixed.h"

namespace iocp {

// Every packet has the same size: a prefix of no bytes that always says the same.
class FixedFraming final : public Framing {
 public:
  explicit FixedFraming(const FramingOptions& options);

  static bool check(const FramingOptions& options, std::string* error);

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override { return limits_.max_packet; }

  bool parse(const uint8_t* data, size_t size, FrameHeader* out) const;

 private:
  FrameLimits limits_;
};

}  // namespace iocp
