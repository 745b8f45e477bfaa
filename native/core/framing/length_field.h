#pragma once

#include "core/framing/prefixed.h"

namespace iocp {

class LengthFieldFraming final : public Framing {
 public:
  // `options` have been checked.
  explicit LengthFieldFraming(const FramingOptions& options);

  static bool check(const FramingOptions& options, std::string* error);

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override { return max_payload_; }
  bool wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const override;
  bool looks_inside() const override { return strip_ < header_size_; }

  bool parse(const uint8_t* data, size_t size, FrameHeader* out) const;

 private:
  uint64_t read_field(const uint8_t* at) const;
  void write_field(uint8_t* at, uint64_t value) const;
  // What the field says for a packet of this size; false when no value does.
  bool field_value(uint64_t packet_size, uint64_t* value) const;

  const FrameLimits limits_;
  const int64_t adjustment_;
  const uint32_t offset_;
  const uint32_t bytes_;
  const uint32_t header_size_;
  const uint32_t strip_;
  const bool big_endian_;
  uint64_t max_payload_;
};

}  // namespace iocp
