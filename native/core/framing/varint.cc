#include "core/framing/varint.h"

#include <algorithm>

namespace iocp {

bool VarintFraming::check(const FramingOptions& options, std::string* error) {
  if (options.varint_bytes == 5 || options.varint_bytes == 10) return true;
  *error = "bytes of a varint must be 5 or 10";
  return false;
}

VarintFraming::VarintFraming(const FramingOptions& options)
    : Framing(options.type_byte), limits_(options), longest_(options.varint_bytes) {}

// A prefix of at most 5 bytes carries 32 bits and one of at most 10 carries 64; the length is
// signed, so half of them are negative. Padding with empty groups is legal, bits beyond are not.
bool VarintFraming::parse(const uint8_t* data, size_t size, FrameHeader* out) const {
  out->strip = 0;
  out->frame_size = 0;
  out->error = FrameError::none;
  uint64_t value = 0;
  const uint8_t last_group = longest_ == 5 ? 0x0f : 0x01;
  for (uint32_t i = 0; i < longest_; ++i) {
    if (i == size) return false;
    const uint8_t byte = data[i];
    out->header_size = i + 1;
    if (i + 1 == longest_ && byte > last_group) {
      out->error = FrameError::bad_varint;
      return true;
    }
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) break;
  }
  out->strip = out->header_size;
  if ((value >> (longest_ == 5 ? 31 : 63)) != 0) {
    out->error = FrameError::negative_length;
    return true;
  }
  out->frame_size = value + out->header_size;
  return true;
}

DecodeResult VarintFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  return decode_prefixed(*this, limits_, state, data, size, sink);
}

bool VarintFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  if (payload_size > max_payload()) return false;
  uint32_t size = 0;
  uint64_t rest = payload_size;
  for (; rest > 0x7f; rest >>= 7) out->header[size++] = static_cast<uint8_t>(rest | 0x80);
  out->header[size++] = static_cast<uint8_t>(rest);
  out->header_size = size;
  out->trailer = nullptr;
  out->trailer_size = 0;
  return true;
}

uint64_t VarintFraming::max_payload() const {
  const auto largest = static_cast<uint64_t>(longest_ == 5 ? INT32_MAX : INT64_MAX);
  return std::min(limits_.max_packet, largest);
}

}  // namespace iocp
