#include <algorithm>

#include "core/framing/delimiter.h"
#include "core/framing/fixed.h"
#include "core/framing/framing.h"
#include "core/framing/hp_socket_pack.h"
#include "core/framing/length_field.h"
#include "core/framing/raw.h"
#include "core/framing/varint.h"

namespace iocp {

bool Framing::wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const {
  (void)payload;
  return encode(size, out);
}

namespace {

bool has_prefix(FramingKind kind) {
  return kind == FramingKind::length_field || kind == FramingKind::varint || kind == FramingKind::hp_socket_pack;
}

bool check_limits(const FramingOptions& options, std::string* error) {
  if (!has_prefix(options.kind) && options.stream_above != FramingOptions::never) {
    *error = "streamAbove needs a framing that says the length first";
    return false;
  }
  if (options.kind == FramingKind::fixed || options.kind == FramingKind::raw) return true;
  if (std::min(options.max_packet, options.stream_above) <= FramingOptions::max_whole_packet) {
    return true;
  }
  *error = has_prefix(options.kind) ? "maxPacket above 1 GiB needs a streamAbove of at most 1 GiB"
                                    : "maxPacket must be at most 1 GiB";
  return false;
}

}  // namespace

std::shared_ptr<const Framing> make_framing(const FramingOptions& options, std::string* error) {
  error->clear();
  if (!check_limits(options, error)) return nullptr;
  switch (options.kind) {
    case FramingKind::length_field:
      if (!LengthFieldFraming::check(options, error)) return nullptr;
      return std::make_shared<LengthFieldFraming>(options);
    case FramingKind::delimiter:
      if (!DelimiterFraming::check(options, error)) return nullptr;
      return std::make_shared<DelimiterFraming>(options);
    case FramingKind::fixed:
      if (!FixedFraming::check(options, error)) return nullptr;
      return std::make_shared<FixedFraming>(options);
    case FramingKind::raw:
      return std::make_shared<RawFraming>(options);
    case FramingKind::varint:
      if (!VarintFraming::check(options, error)) return nullptr;
      return std::make_shared<VarintFraming>(options);
    case FramingKind::hp_socket_pack:
      if (!HpSocketPackFraming::check(options, error)) return nullptr;
      return std::make_shared<HpSocketPackFraming>(options);
  }
  *error = "kind is not known";
  return nullptr;
}

}  // namespace iocp
