#include "core/framing/hp_socket_pack.h"

#include <algorithm>

namespace iocp {

bool HpSocketPackFraming::check(const FramingOptions& options, std::string* error) {
  if (options.flag <= largest_flag) return true;
  *error = "flag must be at most 1023";
  return false;
}

HpSocketPackFraming::HpSocketPackFraming(const FramingOptions& options)
    : Framing(options.type_byte), limits_(options), flag_(options.flag) {}

bool HpSocketPackFraming::parse(const uint8_t* data, size_t size, FrameHeader* out) const {
  if (size < header_bytes) return false;
  const uint32_t word = uint32_t{data[0]} | uint32_t{data[1]} << 8 | uint32_t{data[2]} << 16 | uint32_t{data[3]} << 24;
  const uint32_t length = word & length_mask;
  out->header_size = header_bytes;
  out->strip = header_bytes;
  out->frame_size = uint64_t{length} + header_bytes;
  out->error = FrameError::none;
  if (flag_ != 0 && word >> length_bits != flag_) {
    out->error = FrameError::bad_flag;
  } else if (length == 0) {
    out->error = FrameError::bad_length;
  }
  return true;
}

DecodeResult HpSocketPackFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  return decode_prefixed(*this, limits_, state, data, size, sink);
}

bool HpSocketPackFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  if (payload_size == 0 || payload_size > max_payload()) return false;
  const uint32_t word = flag_ << length_bits | static_cast<uint32_t>(payload_size);
  for (uint32_t i = 0; i < header_bytes; ++i) {
    out->header[i] = static_cast<uint8_t>(word >> (8 * i));
  }
  out->header_size = header_bytes;
  out->trailer = nullptr;
  out->trailer_size = 0;
  return true;
}

uint64_t HpSocketPackFraming::max_payload() const { return std::min<uint64_t>(limits_.max_packet, length_mask); }

}  // namespace iocp
