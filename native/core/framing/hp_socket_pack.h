#pragma once

#include "core/framing/prefixed.h"

namespace iocp {

// HP-Socket's Pack: a little-endian word, 10 bits of flag above 22 bits of length, which counts the
// packet alone. Its peers take an empty packet for an error, and so do we.
class HpSocketPackFraming final : public Framing {
 public:
  explicit HpSocketPackFraming(const FramingOptions& options);

  static bool check(const FramingOptions& options, std::string* error);

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override;

  bool parse(const uint8_t* data, size_t size, FrameHeader* out) const;

 private:
  static constexpr uint32_t header_bytes = 4;
  static constexpr uint32_t length_bits = 22;
  static constexpr uint32_t length_mask = (1u << length_bits) - 1;
  static constexpr uint32_t largest_flag = 0x3ff;

  const FrameLimits limits_;
  const uint32_t flag_;
};

}  // namespace iocp
