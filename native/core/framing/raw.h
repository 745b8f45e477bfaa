#pragma once

#include "core/framing/framing.h"

namespace iocp {

// No frames: whatever a slice brings is one packet. Nothing is ever held.
class RawFraming final : public Framing {
 public:
  explicit RawFraming(const FramingOptions& options) : Framing(options.type_byte) {}

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  // An empty payload is legal and adds nothing to the stream.
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override { return UINT64_MAX; }
};

}  // namespace iocp
