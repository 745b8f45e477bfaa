// test/vectors/framing.json against the decoders and encoders: whole, cut at every byte, at every
// pair of bytes, byte by byte, and with a sink that stops at every event.

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "framing_json.h"
#include "framing_recorder.h"

using namespace framing_test;
using iocp::Endian;
using iocp::FrameError;
using iocp::Framing;
using iocp::FramingKind;
using iocp::FramingOptions;
using iocp::OnOversize;

namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const Json& vectors() {
  static const Json all = [] {
    const std::string name = "vectors/framing.json";
    const std::string here = __FILE__;
    const size_t folder = here.find_last_of("/\\");
    std::string text;
    if (folder != std::string::npos) text = read_file(here.substr(0, folder) + "/../" + name);
    if (text.empty()) text = read_file("test/" + name);
    return parse_json(text);
  }();
  return all;
}

// Hex pairs and 'text', each with *n.
std::string bytes_of(const std::string& text) {
  std::string out;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    std::string token;
    if (text[at] == '\'') {
      const size_t end = text.find('\'', at + 1);
      token = text.substr(at + 1, end - at - 1);
      at = end + 1;
    } else {
      while (at + 1 < text.size() && text[at] != ' ' && text[at] != '*') {
        token += static_cast<char>(std::strtoul(text.substr(at, 2).c_str(), nullptr, 16));
        at += 2;
      }
    }
    size_t times = 1;
    if (at < text.size() && text[at] == '*') {
      char* end = nullptr;
      times = std::strtoul(text.c_str() + at + 1, &end, 10);
      at = static_cast<size_t>(end - text.c_str());
    }
    for (; times != 0; --times) out += token;
  }
  return out;
}

FramingOptions options_of(const Json& json) {
  FramingOptions o;
  const std::string kind = json["kind"].text;
  o.kind = kind == "lengthField"    ? FramingKind::length_field
           : kind == "delimiter"    ? FramingKind::delimiter
           : kind == "fixed"        ? FramingKind::fixed
           : kind == "varint"       ? FramingKind::varint
           : kind == "hpSocketPack" ? FramingKind::hp_socket_pack
                                    : FramingKind::raw;
  if (json.has("maxPacket")) o.max_packet = json["maxPacket"].unsigned_value();
  if (json.has("streamAbove")) o.stream_above = json["streamAbove"].unsigned_value();
  if (json["onOversize"].text == "discard") o.on_oversize = OnOversize::discard;
  if (json.has("failFast")) o.fail_fast = json["failFast"].is_true();
  o.type_byte = json["typeByte"].is_true();
  if (json.has("offset")) o.offset = static_cast<uint32_t>(json["offset"].unsigned_value());
  if (json["endian"].text == "little") o.endian = Endian::little;
  o.adjustment = json["adjustment"].signed_value();
  if (json.has("bytes")) {
    const auto bytes = static_cast<uint32_t>(json["bytes"].unsigned_value());
    (o.kind == FramingKind::varint ? o.varint_bytes : o.bytes) = bytes;
    o.fixed_bytes = bytes;
  }
  if (json["strip"].type == Json::Type::number) {
    o.strip = static_cast<uint32_t>(json["strip"].unsigned_value());
  } else if (json.has("strip")) {
    o.strip_delimiter = json["strip"].is_true();
  }
  for (const Json& delimiter : json["delimiters"].items) {
    o.delimiters.push_back(bytes_of(delimiter.text));
  }
  o.flag = static_cast<uint32_t>(json["flag"].unsigned_value());
  return o;
}

std::shared_ptr<const Framing> framing_of(const Json& vector) {
  std::string error;
  auto framing = make_framing(options_of(vector["framing"]), &error);
  INFO(vector["name"].text);
  INFO(error);
  REQUIRE(bool(framing));
  return framing;
}

Outcome wanted_of(const Json& vector) {
  Outcome out;
  for (const Json& event : vector["events"].items) {
    if (event.has("packet")) {
      out.events.push_back({Event::Kind::packet, bytes_of(event["packet"].text)});
    } else if (event.has("stream")) {
      const std::string bytes = bytes_of(event["stream"].text);
      out.events.push_back({Event::Kind::stream, bytes, bytes.size()});
    } else if (event.has("streamPart")) {
      out.events.push_back(
          {Event::Kind::stream_part, bytes_of(event["streamPart"].text), event["length"].unsigned_value()});
    } else {
      out.events.push_back(
          {Event::Kind::discarded, bytes_of(event["header"].text), event["discarded"].unsigned_value()});
    }
  }
  if (vector.has("error")) {
    const std::string code = vector["error"]["code"].text;
    for (uint8_t i = 1; i <= static_cast<uint8_t>(FrameError::bad_length); ++i) {
      if (code == frame_error_name(static_cast<FrameError>(i))) {
        out.error = static_cast<FrameError>(i);
      }
    }
    out.header = bytes_of(vector["error"]["header"].text);
  }
  if (vector.has("held")) out.held = static_cast<size_t>(vector["held"].unsigned_value());
  out.at_rest = out.held == 0 && !vector["open"].is_true() && out.error == FrameError::none;
  return out;
}

void for_each(const char* section, void (*run)(const Json&)) {
  REQUIRE_MESSAGE(!vectors()[section].items.empty(), "test/vectors/framing.json is not there");
  for (const Json& vector : vectors()[section].items) run(vector);
}

// Raw has no packets of its own: each slice is one.
bool joins(const Json& vector) { return vector["framing"]["kind"].text == "raw"; }

void check(const Json& vector, const Framing& framing, const std::string& input, const std::vector<size_t>& cuts,
           uint64_t stops, const Outcome& wanted) {
  // A reader may put the rest of a packet in its place itself.
  const Outcome filled = decode_cut(framing, input, cuts, stops, joins(vector), ~uint64_t{0});
  const Outcome got = filled == wanted ? decode_cut(framing, input, cuts, stops, joins(vector)) : filled;
  if (got == wanted) return;
  std::string where;
  for (const size_t cut : cuts) where += " " + std::to_string(cut);
  FAIL_CHECK(vector["name"].text << ", cuts" << where << ", stops " << stops << "\nwanted:" << describe(wanted)
                                 << "\ngot:" << describe(got));
}

std::vector<size_t> every_byte(const std::string& input) {
  std::vector<size_t> cuts;
  for (size_t i = 1; i < input.size(); ++i) cuts.push_back(i);
  return cuts;
}

}  // namespace

TEST_CASE("framing vectors: the whole input at once") {
  for_each("decode", [](const Json& vector) {
    const auto framing = framing_of(vector);
    check(vector, *framing, bytes_of(vector["input"].text), {}, 0, wanted_of(vector));
  });
}

TEST_CASE("framing vectors: cut at every byte, empty slices between") {
  for_each("decode", [](const Json& vector) {
    const auto framing = framing_of(vector);
    const std::string input = bytes_of(vector["input"].text);
    const Outcome wanted = wanted_of(vector);
    for (size_t i = 0; i <= input.size(); ++i) check(vector, *framing, input, {i}, 0, wanted);
    for (size_t i = 0; i <= input.size(); ++i) check(vector, *framing, input, {i, i}, 0, wanted);
    check(vector, *framing, input, every_byte(input), 0, wanted);
  });
}

TEST_CASE("framing vectors: cut at every pair of bytes") {
  for_each("decode", [](const Json& vector) {
    const auto framing = framing_of(vector);
    const std::string input = bytes_of(vector["input"].text);
    if (input.size() > 80) return;
    const Outcome wanted = wanted_of(vector);
    for (size_t i = 0; i <= input.size(); ++i) {
      for (size_t j = i; j <= input.size(); ++j) {
        check(vector, *framing, input, {i, j}, 0, wanted);
      }
    }
  });
}

TEST_CASE("framing vectors: a sink that stops at each event, at all, at every other") {
  for_each("decode", [](const Json& vector) {
    const auto framing = framing_of(vector);
    const std::string input = bytes_of(vector["input"].text);
    const Outcome wanted = wanted_of(vector);
    std::vector<uint64_t> patterns = {~uint64_t{0}, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA};
    for (int i = 0; i < 24; ++i) patterns.push_back(uint64_t{1} << i);
    for (const uint64_t stops : patterns) {
      check(vector, *framing, input, {}, stops, wanted);
      check(vector, *framing, input, every_byte(input), stops, wanted);
      if (input.size() > 80) continue;
      for (size_t i = 0; i <= input.size(); ++i) check(vector, *framing, input, {i}, stops, wanted);
    }
  });
}

TEST_CASE("framing vectors: what is encoded, and that it decodes to what it was") {
  for_each("encode", [](const Json& vector) {
    const auto framing = framing_of(vector);
    INFO(vector["name"].text);
    const std::string payload = bytes_of(vector["payload"].text);
    const bool refused = vector["wire"].type == Json::Type::null;
    std::string wire;
    CHECK(encode_whole(*framing, payload, &wire) == !refused);
    if (refused) return;
    CHECK(wire == bytes_of(vector["wire"].text));
    CHECK(payload.size() <= framing->max_payload());
    if (vector.has("once")) return;
    Outcome wanted;
    for (int i = 0; i < 3; ++i) wanted.events.push_back({Event::Kind::packet, payload});
    const std::string three = wire + wire + wire;
    if (joins(vector)) return;
    check(vector, *framing, three, {}, 0, wanted);
    check(vector, *framing, three, every_byte(three), 0, wanted);
  });
}
