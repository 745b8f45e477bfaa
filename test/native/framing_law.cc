// What a framing delivers it takes again, and delivers again unchanged at the other end, whatever its options are.
#include <random>

#include "framing_make.h"

using framing_test::decode_cut;
using framing_test::encode_whole;
using framing_test::Event;
using framing_test::Outcome;
using iocp::FramingKind;
using iocp::FramingOptions;

namespace {

class Dice {
 public:
  explicit Dice(uint32_t seed) : engine_(seed) {}
  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(engine_() % limit); }
  bool flip() { return below(2) == 0; }
  uint8_t byte() { return static_cast<uint8_t>(below(256)); }
  // Mostly of letters that are special to something.
  std::string bytes(size_t size) {
    static const char letters[] = {'\n', '\r', 'a', 'b', '\0', '\x01', '\x03', '\x80', '\xf0', '\xff'};
    std::string out;
    for (; size != 0; --size) {
      out += below(8) == 0 ? static_cast<char>(byte()) : letters[below(sizeof(letters))];
    }
    return out;
  }

 private:
  std::mt19937 engine_;
};

FramingOptions any_options(Dice& dice) {
  FramingOptions o;
  o.kind = static_cast<FramingKind>(dice.below(6));
  o.max_packet = dice.flip() ? dice.below(12) : uint64_t{1} << 20;
  if (dice.flip()) o.on_oversize = iocp::OnOversize::discard;
  o.fail_fast = dice.flip();
  o.type_byte = dice.flip();
  if (o.kind != FramingKind::delimiter && dice.below(3) == 0) o.stream_above = dice.below(8);
  static const uint32_t sizes[] = {1, 2, 3, 4, 8};
  o.bytes = sizes[dice.below(5)];
  o.offset = dice.below(4);
  o.endian = dice.flip() ? iocp::Endian::big : iocp::Endian::little;
  o.adjustment = static_cast<int64_t>(dice.below(21)) - 10;
  if (dice.flip()) o.strip = dice.below(14);
  o.strip_delimiter = dice.below(3) != 0;
  static const std::vector<std::vector<std::string>> lists = {
      {"\n", "\r\n"}, {"\r\n", "\n"}, {"\n"}, {"aa"}, {"b", "ab", "aab"}, {"\r\n\r\n"}, {"\r", "\n", "a"}};
  o.delimiters = lists[dice.below(static_cast<uint32_t>(lists.size()))];
  o.fixed_bytes = 1 + dice.below(9);
  o.varint_bytes = dice.flip() ? 5 : 10;
  o.flag = dice.flip() ? 0 : dice.below(4);
  return o;
}

// Of frames that this framing makes, pieces of them, and rubbish between.
std::string any_stream(Dice& dice, const iocp::Framing& framing) {
  std::string stream;
  for (uint32_t n = dice.below(12); n != 0; --n) {
    const std::string payload = dice.bytes(dice.below(12));
    std::string wire;
    if (dice.below(3) == 0 || !encode_whole(framing, payload, &wire)) wire = payload;
    if (dice.below(6) == 0 && !wire.empty())
      wire[dice.below(static_cast<uint32_t>(wire.size()))] ^= static_cast<char>(dice.byte());
    stream += wire;
  }
  return stream;
}

}  // namespace

TEST_CASE("framing law: what is delivered is taken, and delivered again as it was") {
  Dice dice(20080415);
  size_t delivered[6] = {};
  for (int round = 0; round < 60000; ++round) {
    const FramingOptions options = any_options(dice);
    std::string error;
    const auto framing = make_framing(options, &error);
    if (framing == nullptr) continue;
    const std::string stream = any_stream(dice, *framing);
    for (const Event& event : decode_cut(*framing, stream, {}).events) {
      if (event.kind != Event::Kind::packet && event.kind != Event::Kind::stream) continue;
      ++delivered[static_cast<size_t>(options.kind)];
      std::string wire;
      INFO("round ", round, ", kind ", static_cast<int>(options.kind), ": ", describe(event));
      REQUIRE(encode_whole(*framing, event.bytes, &wire));
      const Outcome again = decode_cut(*framing, wire, {});
      CHECK(again.at_rest);
      CHECK(again.error == iocp::FrameError::none);
      CHECK(again.events == std::vector<Event>{event});
    }
  }
  for (const size_t count : delivered) CHECK(count > 100);
}

TEST_CASE("framing law: a line that ends with CR goes out with CRLF") {
  for (const char* wire : {"a\r\r\n", "\r\r\n", "\r\r\r\n"}) {
    const auto framing = framing_test::make(framing_test::delimited({"\n", "\r\n"}));
    const Outcome decoded = decode_cut(*framing, wire, {});
    REQUIRE(decoded.events.size() == 1);
    std::string back;
    REQUIRE(encode_whole(*framing, decoded.events[0].bytes, &back));
    CHECK(back == wire);
  }
}
