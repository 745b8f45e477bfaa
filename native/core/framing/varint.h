#pragma once

#include "core/framing/prefixed.h"

namespace iocp {

// A base-128 prefix (protobuf's delimited messages): low groups first, the top bit says "more".
class VarintFraming final : public Framing {
 public:
  explicit VarintFraming(const FramingOptions& options);

  static bool check(const FramingOptions& options, std::string* error);

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override;

  bool parse(const uint8_t* data, size_t size, FrameHeader* out) const;

 private:
  const FrameLimits limits_;
  const uint32_t longest_;
};

}  // namespace iocp
