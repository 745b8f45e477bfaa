#include "framing_recorder.h"

#include <algorithm>

#include "core/payload_memory.h"

namespace framing_test {

using iocp::DecodeResult;
using iocp::FrameEnvelope;
using iocp::FrameError;
using iocp::FrameState;
using iocp::Framing;

namespace {

std::string hex(const std::string& bytes) {
  static const char digits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : bytes.substr(0, 64)) {
    out += digits[(static_cast<unsigned char>(c) >> 4) & 15];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return bytes.size() > 64 ? out + "... (" + std::to_string(bytes.size()) + ")" : out;
}

std::string string_of(const uint8_t* data, size_t size) {
  return size == 0 ? std::string() : std::string(reinterpret_cast<const char*>(data), size);
}

}  // namespace

std::string describe(const Event& event) {
  switch (event.kind) {
    case Event::Kind::packet:
      return "packet " + hex(event.bytes);
    case Event::Kind::stream:
      return "stream of " + std::to_string(event.length) + " " + hex(event.bytes);
    case Event::Kind::stream_part:
      return "part of " + std::to_string(event.length) + " " + hex(event.bytes);
    case Event::Kind::discarded:
      return "discarded " + std::to_string(event.length) + " " + hex(event.bytes);
  }
  return "?";
}

std::string describe(const std::vector<Event>& events) {
  std::string out;
  for (const Event& event : events) out += "\n  " + describe(event);
  return out;
}

std::string describe(const Outcome& outcome) {
  std::string out = describe(outcome.events);
  out += "\n  error " + std::string(frame_error_name(outcome.error)) + " " + hex(outcome.header);
  out += ", held " + std::to_string(outcome.held) + (outcome.at_rest ? ", at rest" : "");
  if (!outcome.broken.empty()) out += "\n  BROKEN: " + outcome.broken;
  return out;
}

bool Recorder::answer() {
  const bool stop = ((stops_ >> (said % 64)) & 1) != 0;
  ++said;
  if (stop) said_stop = true;
  return !stop;
}

bool Recorder::on_packet(const uint8_t* data, size_t size) {
  check(!in_stream_, "a packet inside a stream");
  check(!said_stop, "more after a stop");
  check(state_.at_rest() && state_.buffered() == 0 && state_.heap_bytes() == 0,
        "the state is not at rest during a packet");
  if (join_packets_ && !events.empty()) {
    events.back().bytes += string_of(data, size);
  } else {
    events.push_back({Event::Kind::packet, string_of(data, size)});
  }
  return answer();
}

// Takes the block, as a sink may.
bool Recorder::on_gathered_packet(iocp::GatheredPacket* held, size_t skip) {
  check(skip <= held->size(), "more left out than there is");
  const bool go_on = on_packet(held->data() + skip, held->size() - skip);
  iocp::PayloadMemory::free(held->take_block());
  return go_on;
}

bool Recorder::on_stream_begin(uint64_t length) {
  check(!in_stream_, "a stream inside a stream");
  check(!said_stop, "more after a stop");
  check(!state_.at_rest(), "the state is at rest when a stream begins");
  check(length > 0, "a stream of nothing");
  in_stream_ = true;
  events.push_back({Event::Kind::stream_part, "", length});
  return answer();
}

bool Recorder::on_stream_data(const uint8_t* data, size_t size) {
  check(in_stream_, "a piece without a stream");
  check(size > 0, "an empty piece");
  check(state_.heap_bytes() == 0, "memory is held while streaming");
  streamed += size;
  events.back().bytes += string_of(data, size);
  check(events.back().bytes.size() <= events.back().length, "more than was announced");
  return answer();
}

bool Recorder::on_stream_end() {
  check(in_stream_, "an end without a stream");
  check(state_.at_rest(), "the state is not at rest when a stream ends");
  in_stream_ = false;
  if (!events.empty()) {
    check(events.back().bytes.size() == events.back().length, "not what was announced");
    events.back().kind = Event::Kind::stream;
  }
  return answer();
}

void Recorder::on_discarded(uint64_t frame_size, const uint8_t* header, size_t header_size) {
  check(!in_stream_, "a discarded frame inside a stream");
  check(!said_stop, "more after a stop");
  events.push_back({Event::Kind::discarded, string_of(header, header_size), frame_size});
}

Outcome decode_cut(const Framing& framing, const std::string& input, const std::vector<size_t>& cuts, uint64_t stops,
                   bool join_packets, uint64_t filled) {
  FrameState state;
  Recorder sink(state);
  sink.stop_at(stops);
  if (join_packets) sink.join_packets();
  Outcome out;
  std::string broken;
  uint64_t arrived = 0;
  const auto check_memory = [&] {
    out.most_heap = std::max(out.most_heap, state.heap_bytes());
    if (state.heap_bytes() > 2 * arrived + 256) broken = "more memory than bytes that came";
    if (state.at_rest() && state.heap_bytes() != 0) broken = "memory although at rest";
  };

  size_t from = 0;
  for (size_t i = 0; i <= cuts.size() && out.error == FrameError::none; ++i) {
    const size_t to = i < cuts.size() ? std::min(cuts[i], input.size()) : input.size();
    const size_t size = to > from ? to - from : 0;
    // Of its exact size, so that a sanitizer sees one byte too many; null when empty.
    std::unique_ptr<uint8_t[]> slice(size == 0 ? nullptr : new uint8_t[size]);
    if (size != 0) std::memcpy(slice.get(), input.data() + from, size);
    arrived += size;
    size_t done = 0;
    do {
      const size_t least = 1 + i % 7;
      const bool fills = ((filled >> (i % 64)) & 1) != 0;
      const FrameState::Room room = fills ? state.make_room(least) : FrameState::Room{nullptr, 0};
      if (room.data != nullptr && done != size) {
        if (room.size < least) broken = "less room than wanted";
        const size_t some = std::min(room.size, size - done);
        std::memcpy(room.data, slice.get() + done, some);
        state.filled(some);
        done += some;
        check_memory();
        if (!state.whole()) continue;
        // Only a call without bytes is owed; what follows is decoded in the next round.
        sink.said_stop = false;
        out.error = framing.decode(state, nullptr, 0, sink).error;
        if (state.whole() || out.error != FrameError::none) broken = "a whole packet was not told";
        if (sink.said_stop) ++out.stops;
        continue;
      }
      sink.said_stop = false;
      const uint64_t said_before = sink.said;
      const uint8_t* at = slice == nullptr ? nullptr : slice.get() + done;
      const DecodeResult result = framing.decode(state, at, size - done, sink);
      out.error = result.error;
      if (result.error != FrameError::none) break;
      if (result.consumed > size - done) broken = "consumed more than there is";
      if (!sink.said_stop && result.consumed != size - done) broken = "stopped without a reason";
      if (sink.said == said_before && result.consumed == 0 && done != size) broken = "no progress";
      if (sink.said_stop) ++out.stops;
      done += result.consumed;
      check_memory();
    } while (done < size && broken.empty());
    if (!broken.empty()) break;
    from = std::max(from, to);
  }

  size_t header_size = 0;
  const uint8_t* header = state.header(&header_size);
  out.header = string_of(header, header_size);
  out.held = state.buffered();
  out.at_rest = state.at_rest();
  out.events = sink.events;
  out.broken = broken.empty() ? sink.broken : broken;
  if (out.error != FrameError::none) {
    const DecodeResult again = framing.decode(state, header, header_size, sink);
    if (again.error != out.error || sink.events.size() != out.events.size()) {
      out.broken = "the error does not stay";
    }
    state.reset();
    if (!state.at_rest() || state.heap_bytes() != 0) out.broken = "reset does not";
  }
  return out;
}

bool encode_whole(const Framing& framing, const std::string& payload, std::string* wire) {
  FrameEnvelope envelope;
  // Of its exact size; an empty payload has no address.
  std::unique_ptr<uint8_t[]> copy(payload.empty() ? nullptr : new uint8_t[payload.size()]);
  if (!payload.empty()) std::memcpy(copy.get(), payload.data(), payload.size());
  if (!framing.wrap(copy.get(), payload.size(), &envelope)) return false;
  *wire =
      string_of(envelope.header, envelope.header_size) + payload + string_of(envelope.trailer, envelope.trailer_size);
  return true;
}

}  // namespace framing_test
