#include "framing_fuzz.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "framing_model.h"

namespace framing_fuzz {

using framing_test::decode_cut;
using framing_test::Event;
using framing_test::Outcome;
using iocp::FrameEnvelope;
using iocp::Framing;
using iocp::FramingKind;
using iocp::FramingOptions;

uint8_t Choices::byte() {
  if (size_ == 0) return 0;
  --size_;
  return *data_++;
}

uint32_t Choices::word() {
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) out = out << 8 | byte();
  return out;
}

uint64_t Choices::size() {
  const uint8_t first = byte();
  if (first < 200) return first;
  const uint64_t value = uint64_t{word()} << 32 | word();
  return value >> (first % 64);
}

std::string Choices::bytes(size_t size) {
  std::string out;
  for (; size != 0; --size) out += static_cast<char>(byte());
  return out;
}

std::string Choices::rest() { return bytes(size_); }

void choose_limits(Choices& choices, FramingOptions* options) {
  const uint8_t how = choices.byte();
  options->max_packet = choices.size();
  if ((how & 1) != 0) options->stream_above = choices.size();
  if ((how & 2) != 0) options->on_oversize = iocp::OnOversize::discard;
  options->fail_fast = (how & 4) == 0;
}

std::vector<size_t> choose_cuts(Choices& choices) {
  std::vector<size_t> cuts;
  size_t at = 0;
  for (uint32_t n = choices.below(12); n != 0; --n) {
    at += choices.byte();
    cuts.push_back(at);
  }
  return cuts;
}

void same(const char* what, const Outcome& one, const Outcome& other) {
  if (one == other && one.broken.empty()) return;
  std::fprintf(stderr, "%s\none:%s\nother:%s\n", what, describe(one).c_str(), describe(other).c_str());
  std::abort();
}

namespace {

void fail(const char* what, const std::string& payload) {
  std::fprintf(stderr, "%s, payload of %zu bytes\n", what, payload.size());
  std::abort();
}

bool comes_back(const Framing& framing, const std::string& wire, const std::string& payload) {
  const Outcome out = decode_cut(framing, wire, {});
  return out.at_rest && out.events.size() == 1 && out.events[0].bytes == payload &&
         (out.events[0].kind == Event::Kind::packet || out.events[0].kind == Event::Kind::stream);
}

// What would go on the wire with nothing looked at: by each delimiter, where there are some.
std::vector<std::string> blindly(const FramingOptions& options, const Framing& framing, const std::string& payload) {
  FrameEnvelope envelope;
  if (!framing.encode(payload.size(), &envelope)) return {};
  const std::string front = std::string(reinterpret_cast<const char*>(envelope.header), envelope.header_size) + payload;
  if (options.kind != FramingKind::delimiter || !options.strip_delimiter) return {front};
  std::vector<std::string> out;
  for (const std::string& delimiter : options.delimiters) out.push_back(front + delimiter);
  return out;
}

// The pieces of the stream are sent as packets.
void check_encode(const FramingOptions& options, const Framing& framing, const std::string& stream,
                  const std::vector<size_t>& cuts, uint64_t stops) {
  std::string wire;
  Outcome wanted;
  size_t from = 0;
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const size_t to = i < cuts.size() ? std::min(cuts[i], stream.size()) : stream.size();
    const std::string payload = stream.substr(from, to - from);
    from = to;
    const std::vector<std::string> possible = blindly(options, framing, payload);
    std::string whole;
    if (!framing_test::encode_whole(framing, payload, &whole)) {
      if (!framing.looks_inside() && !possible.empty()) fail("refused by what does not look inside", payload);
      for (const std::string& one : possible) {
        if (comes_back(framing, one, payload)) fail("refused for nothing", payload);
      }
      continue;
    }
    if (possible.empty()) fail("wrap() takes what encode() refuses", payload);
    if (payload.size() > framing.max_payload()) fail("wrap() goes beyond max_payload()", payload);
    wire += whole;
    const bool streamed = payload.size() > options.stream_above;
    wanted.events.push_back(
        {streamed ? Event::Kind::stream : Event::Kind::packet, payload, streamed ? payload.size() : uint64_t{0}});
  }
  same("encoded and decoded", decode_cut(framing, wire, cuts, stops), wanted);
}

// What comes out can be sent on, and comes out as it was.
void check_returns(const Framing& framing, const Outcome& decoded) {
  for (const Event& event : decoded.events) {
    if (event.kind != Event::Kind::packet && event.kind != Event::Kind::stream) continue;
    std::string wire;
    if (!framing_test::encode_whole(framing, event.bytes, &wire)) fail("delivered, but not taken", event.bytes);
    if (!comes_back(framing, wire, event.bytes)) fail("delivered, sent and changed", event.bytes);
  }
}

}  // namespace

void check_framing(const FramingOptions& options, Choices& choices) {
  std::string error;
  const auto framing = make_framing(options, &error);
  if (framing == nullptr) {
    if (error.empty()) std::abort();
    return;
  }
  const std::vector<size_t> cuts = choose_cuts(choices);
  const uint64_t stops = uint64_t{choices.word()} << 32 | choices.word();
  const std::string stream = choices.rest();
  const bool raw = options.kind == FramingKind::raw;

  const Outcome whole = decode_cut(*framing, stream, {});
  same("decoder and model", whole, model(options, stream));
  same("whole and cut", whole, decode_cut(*framing, stream, cuts, 0, raw));
  const Outcome stopped = decode_cut(*framing, stream, cuts, stops, raw);
  same("whole and stopped", whole, stopped);
  same("whole and filled", whole, decode_cut(*framing, stream, cuts, stops, raw, ~stops));
  check_returns(*framing, whole);
  if (!raw) check_encode(options, *framing, stream, cuts, stops);
}

}  // namespace framing_fuzz
