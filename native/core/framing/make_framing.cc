#include "core/framing/framing.h"

#include "core/framing/length_field.h"

namespace iocp {

bool Framing::accepts(const uint8_t* payload, size_t size) const {
  (void)payload;
  return size <= max_payload();
}

namespace {

bool check_limits(const FramingOptions& options, std::string* error) {
  const uint64_t whole =
      options.max_packet < options.stream_above ? options.max_packet : options.stream_above;
  if (whole > FramingOptions::max_whole_packet) {
    *error = "maxPacket above 1 GiB needs a streamAbove of at most 1 GiB";
    return false;
  }
  return true;
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
    case FramingKind::fixed:
    case FramingKind::raw:
    case FramingKind::varint:
    case FramingKind::hp_socket_pack:
      break;
  }
  *error = "kind is not known";
  return nullptr;
}

}  // namespace iocp
