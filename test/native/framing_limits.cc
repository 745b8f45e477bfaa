// What vectors cannot say: options that are refused, memory, the top of 64 bits, a framing that is
// changed between two packets of one slice.

#include <doctest/doctest.h>

#include <utility>

#include "framing_recorder.h"

using namespace framing_test;
using iocp::DecodeResult;
using iocp::Endian;
using iocp::FrameEnvelope;
using iocp::FrameError;
using iocp::FrameState;
using iocp::Framing;
using iocp::FramingKind;
using iocp::FramingOptions;
using iocp::OnOversize;

namespace {

constexpr uint64_t gibibyte = uint64_t{1} << 30;

std::shared_ptr<const Framing> make(const FramingOptions& options) {
  std::string error;
  auto framing = make_framing(options, &error);
  INFO(error);
  REQUIRE(bool(framing));
  CHECK(error.empty());
  return framing;
}

std::string refusal(const FramingOptions& options) {
  std::string error = "left over";
  CHECK_FALSE(bool(make_framing(options, &error)));
  return error;
}

FramingOptions length_field(uint32_t bytes) {
  FramingOptions o;
  o.bytes = bytes;
  return o;
}

FramingOptions delimited(std::vector<std::string> delimiters) {
  FramingOptions o;
  o.kind = FramingKind::delimiter;
  o.delimiters = std::move(delimiters);
  return o;
}

DecodeResult feed(const Framing& framing, FrameState& state, const std::string& bytes,
                  Recorder& sink) {
  return framing.decode(state, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), sink);
}

bool starts_with(const std::string& text, const std::string& front) {
  return text.compare(0, front.size(), front) == 0;
}

}  // namespace

TEST_CASE("framing options: what is wrong is refused by its name") {
  for (const uint32_t bytes : {0u, 5u, 6u, 7u, 9u, 0x80000000u}) {
    CHECK(starts_with(refusal(length_field(bytes)), "bytes "));
  }
  FramingOptions o;
  o.offset = 29;
  CHECK(starts_with(refusal(o), "offset "));
  o.offset = UINT32_MAX;
  CHECK(starts_with(refusal(o), "offset "));
  o = FramingOptions();
  o.adjustment = int64_t{INT32_MAX} + 1;
  CHECK(starts_with(refusal(o), "adjustment "));
  o.adjustment = INT64_MIN;
  CHECK(starts_with(refusal(o), "adjustment "));
  o = FramingOptions();
  o.strip = 33;
  CHECK(starts_with(refusal(o), "strip "));

  o = FramingOptions();
  o.max_packet = gibibyte + 1;
  CHECK(starts_with(refusal(o), "maxPacket "));
  o.stream_above = gibibyte + 1;
  CHECK(starts_with(refusal(o), "maxPacket "));
  o.stream_above = gibibyte;
  make(o);
  o.max_packet = UINT64_MAX;
  make(o);
  o = delimited({"\n"});
  o.max_packet = gibibyte + 1;
  CHECK(starts_with(refusal(o), "maxPacket "));
  o = delimited({"\n"});
  o.stream_above = 100;
  CHECK(starts_with(refusal(o), "streamAbove "));

  CHECK(starts_with(refusal(delimited({})), "delimiters "));
  CHECK(starts_with(refusal(delimited({"\n", ""})), "delimiters[1] "));
  CHECK(starts_with(refusal(delimited({std::string(65, 'x')})), "delimiters[0] "));
  CHECK(starts_with(refusal(delimited(std::vector<std::string>(17, "x"))), "delimiters "));
  make(delimited({std::string(64, 'x')}));
  make(delimited({"same", "same"}));

  o = FramingOptions();
  o.kind = FramingKind::fixed;
  for (const uint64_t bytes : {uint64_t{0}, gibibyte + 1, UINT64_MAX}) {
    o.fixed_bytes = bytes;
    CHECK(starts_with(refusal(o), "bytes "));
  }
  o = FramingOptions();
  o.kind = FramingKind::varint;
  o.varint_bytes = 4;
  CHECK(starts_with(refusal(o), "bytes "));
  o = FramingOptions();
  o.kind = FramingKind::hp_socket_pack;
  o.flag = 1024;
  CHECK(starts_with(refusal(o), "flag "));
  o = FramingOptions();
  o.kind = static_cast<FramingKind>(77);
  CHECK(starts_with(refusal(o), "kind "));
}

TEST_CASE("framing options: a delimiter that could never be found is refused") {
  CHECK(starts_with(refusal(delimited({"ab", "abc"})), "delimiters[1] can never be found"));
  CHECK(starts_with(refusal(delimited({"xaby", "ab"})), "delimiters[0] can never be found"));
  CHECK(starts_with(refusal(delimited({"a", "aba"})), "delimiters[1] can never be found"));
  make(delimited({"b", "ab", "aab"}));
}

TEST_CASE("framing: largest payload of each") {
  CHECK(make(length_field(1))->max_payload() == 255);
  CHECK(make(length_field(2))->max_payload() == 65535);
  CHECK(make(length_field(4))->max_payload() == uint64_t{1} << 20);
  FramingOptions o = length_field(1);
  o.adjustment = -1;
  CHECK(make(o)->max_payload() == 254);
  o.adjustment = -255;
  CHECK(make(o)->max_payload() == 0);
  o.adjustment = -256;
  CHECK(make(o)->max_payload() == 0);
  FrameEnvelope envelope;
  CHECK_FALSE(make(o)->encode(0, &envelope));
  o.adjustment = 10;
  CHECK(make(o)->max_payload() == 265);
  o = length_field(3);
  o.max_packet = gibibyte;
  CHECK(make(o)->max_payload() == 0xFFFFFF);
  o = length_field(4);
  o.max_packet = UINT64_MAX;
  o.stream_above = 1024;
  CHECK(make(o)->max_payload() == UINT32_MAX);
  o.bytes = 8;
  CHECK(make(o)->max_payload() == INT64_MAX);
  o.adjustment = INT32_MAX;
  CHECK(make(o)->max_payload() == static_cast<uint64_t>(INT64_MAX) + INT32_MAX);
  o.adjustment = INT32_MIN;
  CHECK(make(o)->max_payload() == static_cast<uint64_t>(INT64_MAX) - (uint64_t{1} << 31));

  o.kind = FramingKind::varint;
  CHECK(make(o)->max_payload() == INT32_MAX);
  o.varint_bytes = 10;
  CHECK(make(o)->max_payload() == INT64_MAX);
  o.kind = FramingKind::hp_socket_pack;
  CHECK(make(o)->max_payload() == 0x3FFFFF);
}

TEST_CASE("framing: nothing at the top of 64 bits wraps round") {
  for (const uint32_t bytes : {4u, 8u}) {
    for (const int64_t adjustment : {int64_t{0}, int64_t{INT32_MAX}, int64_t{INT32_MIN}}) {
      for (const uint32_t strip : {0u, 1u, 8u, 32u}) {
        FramingOptions o = length_field(bytes);
        o.adjustment = adjustment;
        o.strip = strip;
        o.max_packet = UINT64_MAX;
        o.stream_above = 1024;
        const auto framing = make(o);
        FrameEnvelope envelope;
        const uint64_t most = framing->max_payload();
        CHECK(framing->encode(most, &envelope));
        CHECK_FALSE(framing->encode(most + 1, &envelope));
        CHECK_FALSE(framing->encode(UINT64_MAX, &envelope));

        // The envelope of the largest, and as many bytes as make its header whole.
        REQUIRE(framing->encode(most, &envelope));
        if (strip < bytes) continue;
        FrameState state;
        Recorder sink(state);
        const DecodeResult result =
            framing->decode(state, envelope.header, envelope.header_size, sink);
        CHECK(result.error == FrameError::none);
        REQUIRE(sink.events.size() == 1);
        CHECK(sink.events[0].kind == Event::Kind::stream_part);
        CHECK(sink.events[0].length == most);
      }
    }
  }
}

TEST_CASE("framing: envelope sizes that are refused leave no doubt") {
  FrameEnvelope envelope;
  for (const uint64_t size : {UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 63, uint64_t{1} << 32}) {
    FramingOptions o;
    CHECK_FALSE(make(o)->encode(size, &envelope));
    CHECK_FALSE(make(delimited({"\n"}))->encode(size, &envelope));
    o.kind = FramingKind::varint;
    CHECK_FALSE(make(o)->encode(size, &envelope));
    o.kind = FramingKind::hp_socket_pack;
    CHECK_FALSE(make(o)->encode(size, &envelope));
    o.kind = FramingKind::fixed;
    o.fixed_bytes = 4;
    CHECK_FALSE(make(o)->encode(size, &envelope));
    o.kind = FramingKind::raw;
    CHECK(make(o)->encode(size, &envelope));
  }
  FramingOptions o = delimited({"\n", "\r\n"});
  o.strip_delimiter = false;
  CHECK_FALSE(make(o)->encode(0, &envelope));
  CHECK(make(o)->encode(1, &envelope));
  o = FramingOptions();
  o.kind = FramingKind::fixed;
  o.fixed_bytes = 4;
  for (const uint64_t size : {0u, 3u, 5u}) CHECK_FALSE(make(o)->encode(size, &envelope));
  CHECK(make(o)->encode(4, &envelope));
}

TEST_CASE("framing: which of them look into the payload") {
  CHECK_FALSE(make(length_field(4))->looks_inside());
  FramingOptions o;
  o.strip = 3;
  CHECK(make(o)->looks_inside());
  o.strip = 5;
  CHECK_FALSE(make(o)->looks_inside());
  CHECK(make(delimited({"\n"}))->looks_inside());
  o.kind = FramingKind::varint;
  CHECK_FALSE(make(o)->looks_inside());
  CHECK_FALSE(make(o)->type_byte());
  o.type_byte = true;
  CHECK(make(o)->type_byte());
}

TEST_CASE("framing: the presets are parameters of the length field") {
  FramingOptions iocps;
  iocps.endian = Endian::little;
  iocps.type_byte = true;
  iocps.max_packet = 512 - 4;
  std::string wire;
  REQUIRE(encode_whole(*make(iocps), std::string("\2", 1), &wire));
  CHECK(wire == std::string("\1\0\0\0\2", 5));
  REQUIRE(encode_whole(*make(iocps), std::string(508, 'x'), &wire));
  CHECK(wire.size() == 512);
  CHECK_FALSE(encode_whole(*make(iocps), std::string(509, 'x'), &wire));
  CHECK(decode_cut(*make(iocps), std::string("\0\0\0\0", 4), {}).events.size() == 1);
  iocps.max_packet = uint64_t{64} << 20;  // the limit lifted
  CHECK(encode_whole(*make(iocps), std::string(70000, 'x'), &wire));

  for (const uint32_t bytes : {1u, 2u, 4u}) {
    REQUIRE(encode_whole(*make(length_field(bytes)), "abc", &wire));
    CHECK(wire == std::string(bytes - 1, '\0') + "\3abc");
  }
}

TEST_CASE("framing: memory follows the bytes that come, never the length that is declared") {
  FramingOptions o;
  o.max_packet = gibibyte;
  const auto framing = make(o);
  FrameState state;
  Recorder sink(state);
  feed(*framing, state, std::string("\x40\0\0\0", 4), sink);
  CHECK(state.heap_bytes() == 0);
  CHECK(state.buffered() == 4);
  size_t arrived = 4;
  for (int i = 0; i < 400; ++i) {
    feed(*framing, state, std::string(100, 'x'), sink);
    arrived += 100;
    CHECK(state.buffered() == arrived);
    CHECK(state.heap_bytes() <= 2 * arrived + 256);
  }
  CHECK(sink.events.empty());
  state.reset();
  CHECK(state.heap_bytes() == 0);
  CHECK(state.at_rest());
}

TEST_CASE("framing: the block of a packet is no larger than its frame in the end") {
  const auto framing = make(length_field(4));
  FrameState state;
  Recorder sink(state);
  feed(*framing, state, std::string("\0\0\x04\0", 4), sink);
  for (int i = 0; i < 1023; ++i) feed(*framing, state, "x", sink);
  CHECK(state.heap_bytes() == 1028);
  feed(*framing, state, "y", sink);
  CHECK(state.heap_bytes() == 0);
  REQUIRE(sink.events.size() == 1);
  CHECK(sink.events[0].bytes == std::string(1023, 'x') + "y");
}

TEST_CASE("framing: a packet that is whole in a slice is not copied") {
  struct Where final : iocp::FrameSink {
    std::vector<const uint8_t*> at;
    bool on_packet(const uint8_t* data, size_t) override {
      at.push_back(data);
      return true;
    }
    bool on_stream_begin(uint64_t) override { return true; }
    bool on_stream_data(const uint8_t* data, size_t) override {
      at.push_back(data);
      return true;
    }
    bool on_stream_end() override { return true; }
    void on_discarded(uint64_t, const uint8_t*, size_t) override {}
  } sink;
  FramingOptions o = length_field(2);
  o.stream_above = 3;
  const auto framing = make(o);
  FrameState state;
  const std::string slice("\0\2ab\0\0\0\4wxyz\0", 13);
  const auto* data = reinterpret_cast<const uint8_t*>(slice.data());
  framing->decode(state, data, slice.size(), sink);
  CHECK(sink.at == std::vector<const uint8_t*>{data + 2, data + 6, data + 8});
  // A header that crosses the edge does not make a copy of the body.
  sink.at.clear();
  const std::string next("\3abc", 4);
  data = reinterpret_cast<const uint8_t*>(next.data());
  framing->decode(state, data, next.size(), sink);
  CHECK(sink.at == std::vector<const uint8_t*>{data + 1});

  // Nor does a kept header, up to the very end of the slice.
  o.strip = 0;
  o.stream_above = FramingOptions::never;
  const std::string kept("\0\2ab\0\0", 6);
  sink.at.clear();
  data = reinterpret_cast<const uint8_t*>(kept.data());
  FrameState fresh;
  make(o)->decode(fresh, data, kept.size(), sink);
  CHECK(sink.at == std::vector<const uint8_t*>{data, data + 4});

  const auto lines = make(delimited({"\n"}));
  const std::string text("one\ntwo\nthr");
  sink.at.clear();
  data = reinterpret_cast<const uint8_t*>(text.data());
  lines->decode(state, data, text.size(), sink);
  CHECK(sink.at == std::vector<const uint8_t*>{data, data + 4});
}

TEST_CASE("framing: discarding holds no more than the end of what went by") {
  FramingOptions o = delimited({"--------"});
  o.max_packet = 1000;
  o.on_oversize = OnOversize::discard;
  const auto framing = make(o);
  FrameState state;
  Recorder sink(state);
  for (int i = 0; i < 1000; ++i) feed(*framing, state, std::string(100, 'x'), sink);
  CHECK(sink.events.size() == 1);
  CHECK(state.heap_bytes() <= FramingOptions::max_delimiter);
  CHECK(state.buffered() == 0);
  CHECK_FALSE(state.at_rest());
  feed(*framing, state, "-------", sink);
  feed(*framing, state, "-ok--------", sink);
  REQUIRE(sink.events.size() == 2);
  CHECK(sink.events[1].bytes == "ok");
  CHECK(state.heap_bytes() == 0);
}

TEST_CASE("framing: the longest delimiter, discarding byte by byte") {
  const std::string end = std::string(63, '=') + "!";
  FramingOptions o = delimited({end});
  o.max_packet = 0;
  o.on_oversize = OnOversize::discard;
  o.fail_fast = false;
  const std::string input = std::string(200, '=') + end + end + "x" + end;
  Outcome wanted;
  wanted.events = {{Event::Kind::discarded, "=", 264},
                   {Event::Kind::packet, ""},
                   {Event::Kind::discarded, "x", 65}};
  std::vector<size_t> cuts;
  for (size_t i = 1; i < input.size(); ++i) {
    cuts.push_back(i);
    CHECK(decode_cut(*make(o), input, {i}) == wanted);
  }
  CHECK(decode_cut(*make(o), input, cuts) == wanted);
}

TEST_CASE("framing: the longest header needs no heap") {
  FramingOptions o = length_field(8);
  o.offset = 24;
  const auto framing = make(o);
  FrameState state;
  Recorder sink(state);
  feed(*framing, state, std::string(31, '\0'), sink);
  CHECK(state.heap_bytes() == 0);
  feed(*framing, state, "\5", sink);
  CHECK(state.buffered() == 32);
  CHECK(state.heap_bytes() == 0);
  feed(*framing, state, "abcde", sink);
  REQUIRE(sink.events.size() == 1);
  CHECK(sink.events[0].bytes == "abcde");
}

TEST_CASE("framing: changed between two packets of one slice") {
  FramingOptions line = delimited({"\n", "\r\n"});
  const auto lines = make(line);
  const auto binary = make(length_field(2));
  const std::string all("HELLO\r\n\0\3a\nb\0\1c", 15);
  for (size_t cut = 0; cut <= all.size(); ++cut) {
    FrameState state;
    Recorder sink(state);
    sink.stop_at(1);  // behind the first packet
    const Framing* framing = lines.get();
    for (const std::string& part : {all.substr(0, cut), all.substr(cut)}) {
      std::string rest = part;
      while (!rest.empty()) {
        const uint64_t said = sink.said;
        const DecodeResult result = feed(*framing, state, rest, sink);
        sink.said_stop = false;
        REQUIRE(result.error == FrameError::none);
        rest.erase(0, result.consumed);
        if (said == 0 && sink.said == 1) {
          CHECK(state.at_rest());
          framing = binary.get();
        }
      }
    }
    REQUIRE(sink.events.size() == 3);
    CHECK(sink.events[0].bytes == "HELLO");
    CHECK(sink.events[1].bytes == "a\nb");
    CHECK(sink.events[2].bytes == "c");
    CHECK(sink.broken.empty());
  }
}

TEST_CASE("framing: a state moves with what it holds") {
  const auto framing = make(length_field(2));
  for (const size_t held : {size_t{1}, size_t{20}, size_t{1000}}) {
    std::string wire;
    REQUIRE(encode_whole(*framing, std::string(2000, 'p'), &wire));
    FrameState first;
    Recorder unused(first);
    feed(*framing, first, wire.substr(0, held), unused);
    FrameState second(std::move(first));
    CHECK(first.at_rest());
    CHECK(first.buffered() == 0);
    CHECK(second.buffered() == held);
    FrameState third;
    third = std::move(second);
    CHECK(second.at_rest());
    Recorder sink(third);
    feed(*framing, third, wire.substr(held), sink);
    REQUIRE(sink.events.size() == 1);
    CHECK(sink.events[0].bytes == std::string(2000, 'p'));
  }
}

TEST_CASE("framing: a slice of no bytes does nothing, wherever it comes") {
  FramingOptions kinds[6];
  kinds[1] = delimited({"\r\n"});
  kinds[2].kind = FramingKind::fixed;
  kinds[2].fixed_bytes = 3;
  kinds[3].kind = FramingKind::raw;
  kinds[4].kind = FramingKind::varint;
  kinds[5].kind = FramingKind::hp_socket_pack;
  for (const FramingOptions& options : kinds) {
    const auto framing = make(options);
    FrameState state;
    Recorder sink(state);
    const DecodeResult result = framing->decode(state, nullptr, 0, sink);
    CHECK(result.consumed == 0);
    CHECK(result.error == FrameError::none);
    CHECK(sink.events.empty());
    CHECK(state.at_rest());
  }
}

TEST_CASE("framing: every error has a name of its own") {
  std::vector<std::string> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(FrameError::bad_length); ++i) {
    const std::string name = frame_error_name(static_cast<FrameError>(i));
    for (const std::string& other : names) CHECK(name != other);
    names.push_back(name);
  }
  CHECK(std::string(frame_error_name(static_cast<FrameError>(200))) == "unknown");
}
