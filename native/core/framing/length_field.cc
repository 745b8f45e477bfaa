#include "core/framing/length_field.h"

#include <algorithm>
#include <cstring>

namespace iocp {

namespace {

// The largest length a field can say: 8 bytes are signed, fewer are not (Netty's reading).
uint64_t largest_value(uint32_t bytes) {
  return bytes == 8 ? static_cast<uint64_t>(INT64_MAX) : (uint64_t{1} << (8 * bytes)) - 1;
}

}  // namespace

bool LengthFieldFraming::check(const FramingOptions& options, std::string* error) {
  const uint32_t bytes = options.bytes;
  if (bytes != 1 && bytes != 2 && bytes != 3 && bytes != 4 && bytes != 8) {
    *error = "bytes must be 1, 2, 3, 4 or 8";
    return false;
  }
  if (options.offset > FramingOptions::max_header - bytes) {
    *error = "offset must be at most " + std::to_string(FramingOptions::max_header - bytes) +
             " with a length field of " + std::to_string(bytes) + " bytes";
    return false;
  }
  if (options.adjustment < INT32_MIN || options.adjustment > INT32_MAX) {
    *error = "adjustment must be a 32-bit integer";
    return false;
  }
  if (options.strip != FramingOptions::whole_header && options.strip > FramingOptions::max_header) {
    *error = "strip must be at most " + std::to_string(FramingOptions::max_header);
    return false;
  }
  return true;
}

LengthFieldFraming::LengthFieldFraming(const FramingOptions& options)
    : Framing(options.type_byte, options.iocps_files),
      limits_(options),
      adjustment_(options.adjustment),
      offset_(options.offset),
      bytes_(options.bytes),
      header_size_(options.offset + options.bytes),
      strip_(options.strip == FramingOptions::whole_header ? header_size_ : options.strip),
      big_endian_(options.endian == Endian::big),
      max_payload_(0) {
  // field = packet + strip - header - adjustment, so packet = field + rest.
  const int64_t rest = int64_t{header_size_} + adjustment_ - int64_t{strip_};
  const uint64_t largest = largest_value(bytes_);
  if (rest >= 0) {
    max_payload_ = largest + static_cast<uint64_t>(rest);
  } else {
    max_payload_ = largest - std::min(largest, static_cast<uint64_t>(-rest));
  }
  max_payload_ = std::min(max_payload_, limits_.max_packet);
}

bool LengthFieldFraming::parse(const uint8_t* data, size_t size, FrameHeader* out) const {
  if (size < header_size_) return false;
  const uint64_t value = read_field(data + offset_);
  out->header_size = header_size_;
  out->strip = strip_;
  out->frame_size = 0;
  out->error = FrameError::none;
  if (bytes_ == 8 && (value >> 63) != 0) {
    out->error = FrameError::negative_length;
    return true;
  }
  uint64_t body = value;
  if (adjustment_ < 0) {
    const auto less = static_cast<uint64_t>(-adjustment_);
    if (value < less) {
      out->error = FrameError::shorter_than_header;
      return true;
    }
    body -= less;
  } else {
    body += static_cast<uint64_t>(adjustment_);  // < 2^63 + 2^31
  }
  out->frame_size = body + header_size_;
  if (out->frame_size < strip_) out->error = FrameError::shorter_than_strip;
  return true;
}

DecodeResult LengthFieldFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  return decode_prefixed(*this, limits_, state, data, size, sink);
}

bool LengthFieldFraming::field_value(uint64_t packet_size, uint64_t* value) const {
  if (packet_size > max_payload_) return false;
  const uint64_t frame = packet_size + strip_;
  if (frame < header_size_) return false;
  const uint64_t body = frame - header_size_;
  if (adjustment_ > 0) {
    if (body < static_cast<uint64_t>(adjustment_)) return false;
    *value = body - static_cast<uint64_t>(adjustment_);
  } else {
    *value = body + static_cast<uint64_t>(-adjustment_);
  }
  return *value <= largest_value(bytes_);
}

bool LengthFieldFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  uint64_t value = 0;
  if (!field_value(payload_size, &value)) return false;
  // decode() takes `strip` bytes off the front, so these are what goes in front again; the part of
  // the header that decode() leaves in the packet is in the payload already.
  uint8_t frame[2 * FramingOptions::max_header] = {};
  write_field(frame + offset_, value);
  std::memcpy(out->header, frame, sizeof(out->header));
  out->header_size = strip_;
  out->trailer = nullptr;
  out->trailer_size = 0;
  return true;
}

bool LengthFieldFraming::wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const {
  uint64_t value = 0;
  if (!field_value(size, &value) || !encode(size, out)) return false;
  if (strip_ >= header_size_) return true;
  uint8_t field[8];
  write_field(field, value);
  const uint32_t from = std::max(offset_, strip_);
  return std::memcmp(payload + (from - strip_), field + (from - offset_), header_size_ - from) == 0;
}

uint64_t LengthFieldFraming::read_field(const uint8_t* at) const {
  uint64_t value = 0;
  if (big_endian_) {
    for (uint32_t i = 0; i < bytes_; ++i) value = (value << 8) | at[i];
  } else {
    for (uint32_t i = bytes_; i > 0; --i) value = (value << 8) | at[i - 1];
  }
  return value;
}

void LengthFieldFraming::write_field(uint8_t* at, uint64_t value) const {
  for (uint32_t i = 0; i < bytes_; ++i) {
    at[big_endian_ ? bytes_ - 1 - i : i] = static_cast<uint8_t>(value >> (8 * i));
  }
}

}  // namespace iocp
