// What vectors cannot say: memory, copies, a framing that changes between two packets of a slice.

#include "core/payload_memory.h"
#include "framing_make.h"

using namespace framing_test;
using iocp::DecodeResult;
using iocp::FrameError;
using iocp::FrameState;
using iocp::Framing;
using iocp::FramingKind;
using iocp::FramingOptions;
using iocp::OnOversize;

namespace {

DecodeResult feed(const Framing& framing, FrameState& state, const std::string& bytes, Recorder& sink) {
  return framing.decode(state, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), sink);
}

}  // namespace

TEST_CASE("framing: memory follows the bytes that come, never the length that is declared") {
  const iocp::PayloadMemory::Lease user(true);
  FramingOptions o;
  o.max_packet = gibibyte;
  const auto framing = make(o);
  FrameState state;
  Recorder sink(state);
  feed(*framing, state, std::string("\x40\0\0\0", 4), sink);
  CHECK(state.heap_bytes() == 0);
  CHECK(state.buffered() == 4);
  size_t arrived = 4;
  for (int i = 0; i < 4000; ++i) {
    feed(*framing, state, std::string(100, 'x'), sink);
    arrived += 100;
    CHECK(state.buffered() == arrived);
    // Blocks that are recycled come in sizes of their own.
    const bool recycled = state.heap_bytes() > iocp::PayloadMemory::kSmallest;
    CHECK(state.heap_bytes() <= (recycled ? arrived * 5 / 2 + 1024 : 2 * arrived + 256));
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

TEST_CASE("framing: a reader puts the rest of a big packet where it belongs") {
  const auto framing = make(length_field(4));
  FrameState state;
  Recorder sink(state);
  CHECK(state.make_room(1).data == nullptr);  // at rest
  feed(*framing, state,
       std::string("\0\0\x27\x10"
                   "abcdef",
                   10),
       sink);
  CHECK(state.make_room(11).data == nullptr);  // that would be more than has come
  std::string wanted = "abcdef";
  while (!state.whole()) {
    const FrameState::Room room = state.make_room(10);
    if (room.data == nullptr) {  // less than 10 bytes are left
      CHECK(wanted.size() > 9990);
      break;
    }
    CHECK(state.heap_bytes() <= 2 * state.buffered());
    const size_t some = (room.size + 1) / 2;
    for (size_t i = 0; i < some; ++i) {
      room.data[i] = static_cast<uint8_t>(wanted.size() % 251);
      wanted += static_cast<char>(room.data[i]);
    }
    state.filled(some);
    CHECK(state.buffered() == wanted.size() + 4);
  }
  CHECK(sink.events.empty());
  CHECK(state.make_room(1).size == 10000 - wanted.size());
  while (wanted.size() < 10000) {
    state.make_room(1).data[0] = 'z';
    wanted += 'z';
    state.filled(1);
  }
  CHECK(state.whole());
  CHECK_FALSE(state.at_rest());
  CHECK(state.buffered() == 10004);
  CHECK(state.heap_bytes() == 10004);
  CHECK(state.make_room(1).data == nullptr);
  feed(*framing, state, "", sink);
  CHECK(state.at_rest());
  REQUIRE(sink.events.size() == 1);
  CHECK(sink.events[0].bytes == wanted);
}

TEST_CASE("framing: what is streamed, discarded or delimited has no room for a reader") {
  FramingOptions streamed = length_field(4);
  streamed.stream_above = 8;
  FramingOptions discarded = length_field(4);
  discarded.max_packet = 8;
  discarded.on_oversize = OnOversize::discard;
  FramingOptions delimited;
  delimited.kind = FramingKind::delimiter;
  delimited.delimiters = {"\n"};
  for (const FramingOptions& options : {streamed, discarded, delimited}) {
    const auto framing = make(options);
    FrameState state;
    Recorder sink(state);
    feed(*framing, state, std::string("\0\0\0\x20 0123456789", 15), sink);
    CHECK(state.make_room(1).data == nullptr);
  }
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
  wanted.events = {{Event::Kind::discarded, "=", 264}, {Event::Kind::packet, ""}, {Event::Kind::discarded, "x", 65}};
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
