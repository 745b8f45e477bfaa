#include "framing_model.h"

#include <algorithm>

namespace framing_fuzz {

using framing_test::Event;
using framing_test::Outcome;
using iocp::FrameError;
using iocp::FramingKind;
using iocp::FramingOptions;

namespace {

// Wide enough that no sum of lengths can wrap; only clang and gcc build this.
__extension__ typedef __int128 Wide;

struct Prefix {
  bool whole = false;
  FrameError error = FrameError::none;
  size_t header = 0;
  Wide frame = 0;
  Wide strip = 0;
};

Prefix corrupt(FrameError error, size_t header) { return {true, error, header, 0, 0}; }

uint8_t byte_at(const std::string& input, size_t at) { return static_cast<uint8_t>(input[at]); }

Prefix length_field(const FramingOptions& o, const std::string& input) {
  const size_t end = o.offset + o.bytes;
  if (input.size() < end) return {};
  std::string field = input.substr(o.offset, o.bytes);
  if (o.endian == iocp::Endian::little) std::reverse(field.begin(), field.end());
  Wide value = 0;
  for (size_t i = 0; i < field.size(); ++i) value = value * 256 + byte_at(field, i);
  if (o.bytes == 8 && byte_at(field, 0) >= 128) return corrupt(FrameError::negative_length, end);
  const Wide frame = value + o.adjustment + static_cast<Wide>(end);
  const Wide strip = o.strip == FramingOptions::whole_header ? static_cast<Wide>(end) : o.strip;
  if (frame < static_cast<Wide>(end)) return corrupt(FrameError::shorter_than_header, end);
  if (frame < strip) return corrupt(FrameError::shorter_than_strip, end);
  return {true, FrameError::none, end, frame, strip};
}

Prefix varint(const FramingOptions& o, const std::string& input) {
  Wide value = 0;
  Wide weight = 1;
  const Wide limit = static_cast<Wide>(1) << (o.varint_bytes == 5 ? 32 : 64);
  for (size_t i = 0;; ++i) {
    if (i == input.size()) return {};
    const uint8_t byte = byte_at(input, i);
    value += weight * (byte % 128);
    weight *= 128;
    const bool last = i + 1 == o.varint_bytes;
    if (last && (byte >= 128 || value >= limit)) return corrupt(FrameError::bad_varint, i + 1);
    if (byte >= 128) continue;
    if (value >= limit / 2) return corrupt(FrameError::negative_length, i + 1);
    return {true, FrameError::none, i + 1, value + static_cast<Wide>(i + 1), static_cast<Wide>(i + 1)};
  }
}

Prefix hp_socket_pack(const FramingOptions& o, const std::string& input) {
  if (input.size() < 4) return {};
  Wide word = 0;
  for (size_t i = 4; i > 0; --i) word = word * 256 + byte_at(input, i - 1);
  if (o.flag != 0 && word / 4194304 != o.flag) return corrupt(FrameError::bad_flag, 4);
  if (word % 4194304 == 0) return corrupt(FrameError::bad_length, 4);
  return {true, FrameError::none, 4, word % 4194304 + 4, 4};
}

Prefix fixed(const FramingOptions& o) { return {true, FrameError::none, 0, static_cast<Wide>(o.fixed_bytes), 0}; }

Outcome stop(Outcome out, FrameError error, const std::string& header) {
  out.error = error;
  out.header = header;
  out.at_rest = false;
  return out;
}

Outcome prefixed(const FramingOptions& o, std::string input) {
  const bool is_fixed = o.kind == FramingKind::fixed;
  const Wide largest = is_fixed ? o.fixed_bytes : o.max_packet;
  Outcome out;
  while (!input.empty()) {
    const Prefix p = o.kind == FramingKind::length_field ? length_field(o, input)
                     : o.kind == FramingKind::varint     ? varint(o, input)
                     : is_fixed                          ? fixed(o)
                                                         : hp_socket_pack(o, input);
    const std::string header = input.substr(0, p.header);
    if (p.whole && p.error != FrameError::none) return stop(out, p.error, header);
    const Wide packet = p.frame - p.strip;
    const bool complete = p.whole && static_cast<Wide>(input.size()) >= p.frame;
    if (p.whole && packet > largest) {
      if (o.on_oversize == iocp::OnOversize::close) return stop(out, FrameError::too_large, header);
      if (o.fail_fast || complete) {
        out.events.push_back({Event::Kind::discarded, header, static_cast<uint64_t>(p.frame)});
      }
      out.at_rest = complete;
    } else if (p.whole && packet > o.stream_above) {
      const size_t from = std::min(input.size(), static_cast<size_t>(p.strip));
      const auto size = static_cast<size_t>(std::min<Wide>(packet, input.size()));
      out.events.push_back({complete ? Event::Kind::stream : Event::Kind::stream_part, input.substr(from, size),
                            static_cast<uint64_t>(packet)});
      out.at_rest = complete;
    } else if (complete) {
      out.events.push_back(
          {Event::Kind::packet, input.substr(static_cast<size_t>(p.strip), static_cast<size_t>(packet))});
    } else {
      out.held = input.size();
      out.at_rest = false;
    }
    if (!complete) return out;
    input.erase(0, static_cast<size_t>(p.frame));
  }
  return out;
}

Outcome delimited(const FramingOptions& o, std::string input) {
  size_t longest = 0;
  for (const std::string& d : o.delimiters) longest = std::max(longest, d.size());
  Outcome out;
  while (!input.empty()) {
    // Netty's words: of all delimiters the one that makes the shortest frame.
    size_t content = std::string::npos;
    size_t size = 0;
    for (const std::string& d : o.delimiters) {
      const size_t at = input.find(d);
      if (at < content || (at == content && at != std::string::npos && d.size() > size)) {
        content = at;
        size = d.size();
      }
    }
    const bool complete = content != std::string::npos;
    if (!complete && input.size() < o.max_packet + longest) {
      out.held = input.size();
      out.at_rest = false;
      return out;
    }
    if (!complete || content > o.max_packet) {
      const std::string header = input.substr(0, static_cast<size_t>(std::min<uint64_t>(32, o.max_packet + 1)));
      if (o.on_oversize == iocp::OnOversize::close) return stop(out, FrameError::too_large, header);
      if (o.fail_fast || complete) {
        const uint64_t frame = o.fail_fast ? 0 : content + size;
        out.events.push_back({Event::Kind::discarded, header, frame});
      }
      out.at_rest = complete;
      if (!complete) return out;
    } else {
      const size_t packet = o.strip_delimiter ? content : content + size;
      out.events.push_back({Event::Kind::packet, input.substr(0, packet)});
    }
    input.erase(0, content + size);
  }
  return out;
}

}  // namespace

Outcome model(const FramingOptions& options, const std::string& input) {
  if (options.kind == FramingKind::delimiter) return delimited(options, input);
  if (options.kind != FramingKind::raw) return prefixed(options, input);
  Outcome out;
  if (!input.empty()) out.events.push_back({Event::Kind::packet, input});
  return out;
}

}  // namespace framing_fuzz
