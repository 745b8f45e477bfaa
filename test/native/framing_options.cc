// What makes a framing, what it refuses, and how large a payload each of them takes.

#include "framing_make.h"

using namespace framing_test;
using iocp::DecodeResult;
using iocp::Endian;
using iocp::FrameEnvelope;
using iocp::FrameError;
using iocp::FrameState;
using iocp::FramingKind;
using iocp::FramingOptions;

namespace {

std::string refusal(const FramingOptions& options) {
  std::string error = "left over";
  CHECK_FALSE(bool(make_framing(options, &error)));
  return error;
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
        const DecodeResult result = framing->decode(state, envelope.header, envelope.header_size, sink);
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

TEST_CASE("framing: every error has a name of its own") {
  std::vector<std::string> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(FrameError::bad_length); ++i) {
    const std::string name = frame_error_name(static_cast<FrameError>(i));
    for (const std::string& other : names) CHECK(name != other);
    names.push_back(name);
  }
  CHECK(std::string(frame_error_name(static_cast<FrameError>(200))) == "unknown");
}
