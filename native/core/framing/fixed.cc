#include "core/framing/fixed.h"

namespace iocp {

bool FixedFraming::check(const FramingOptions& options, std::string* error) {
  if (options.fixed_bytes >= 1 && options.fixed_bytes <= FramingOptions::max_whole_packet) {
    return true;
  }
  *error = "bytes of a fixed frame must be from 1 to 1 GiB";
  return false;
}

FixedFraming::FixedFraming(const FramingOptions& options) : Framing(options.type_byte), limits_(options) {
  limits_.max_packet = options.fixed_bytes;
  limits_.stream_above = FramingOptions::never;
}

bool FixedFraming::parse(const uint8_t* data, size_t size, FrameHeader* out) const {
  (void)data;
  (void)size;
  out->frame_size = limits_.max_packet;
  out->header_size = 0;
  out->strip = 0;
  out->error = FrameError::none;
  return true;
}

DecodeResult FixedFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  return decode_prefixed(*this, limits_, state, data, size, sink);
}

bool FixedFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  if (payload_size != limits_.max_packet) return false;
  out->header_size = 0;
  out->trailer = nullptr;
  out->trailer_size = 0;
  return true;
}

}  // namespace iocp
