// sources: native/core/framing native/core/payload_memory.cc test/native/framing_recorder.cc
// sources: test/fuzz/framing_fuzz.cc test/fuzz/framing_model.cc

// The framing changes behind packets that the fuzzer chooses: the outcome must not depend on cuts.

#include <algorithm>
#include <cstdlib>

#include "framing_fuzz.h"

using framing_test::Outcome;
using framing_test::Recorder;
using iocp::DecodeResult;
using iocp::FrameError;
using iocp::FrameState;
using iocp::Framing;
using iocp::FramingKind;
using iocp::FramingOptions;

namespace {

using All = std::vector<std::shared_ptr<const Framing>>;

const All& framings() {
  static const All all = [] {
    FramingOptions o[5];
    o[0].bytes = 1;
    o[0].max_packet = 200;
    o[0].stream_above = 100;
    o[1].kind = FramingKind::delimiter;
    o[1].delimiters = {"\n", "\r\n"};
    o[1].max_packet = 50;
    o[1].on_oversize = iocp::OnOversize::discard;
    o[2].kind = FramingKind::fixed;
    o[2].fixed_bytes = 5;
    o[3].kind = FramingKind::varint;
    o[3].on_oversize = iocp::OnOversize::discard;
    o[3].max_packet = 300;
    o[4].bytes = 2;
    o[4].strip = 0;
    o[4].endian = iocp::Endian::little;
    All out;
    for (const FramingOptions& options : o) {
      std::string error;
      out.push_back(make_framing(options, &error));
      if (out.back() == nullptr) std::abort();
    }
    return out;
  }();
  return all;
}

// Every event that ends at a boundary is stopped at, and the next framing of the plan taken.
Outcome run(const std::string& stream, const std::vector<size_t>& cuts, const std::string& plan) {
  FrameState state;
  Recorder sink(state);
  sink.stop_at(~uint64_t{0});
  Outcome out;
  size_t step = 0;
  const auto framing = [&]() -> const Framing& {
    const uint8_t choice = step < plan.size() ? static_cast<uint8_t>(plan[step]) : uint8_t{0};
    return *framings()[choice % framings().size()];
  };
  size_t from = 0;
  for (size_t i = 0; i <= cuts.size(); ++i) {
    const size_t to = i < cuts.size() ? std::min(cuts[i], stream.size()) : stream.size();
    while (from < to) {
      sink.said_stop = false;
      const auto* at = reinterpret_cast<const uint8_t*>(stream.data()) + from;
      const DecodeResult result = framing().decode(state, at, to - from, sink);
      out.error = result.error;
      if (result.error != FrameError::none) break;
      from += result.consumed;
      // A discarded frame does not stop the decoder, so it is no place to change.
      if (sink.said_stop && state.at_rest()) ++step;
    }
    if (out.error != FrameError::none) break;
  }
  size_t size = 0;
  const uint8_t* header = state.header(&size);
  out.header.assign(reinterpret_cast<const char*>(header), size);
  out.events = sink.events;
  out.held = state.buffered();
  out.at_rest = state.at_rest();
  out.broken = sink.broken;
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  framing_fuzz::Choices choices(data, size);
  const std::vector<size_t> cuts = framing_fuzz::choose_cuts(choices);
  const std::string plan = choices.bytes(8);
  const std::string stream = choices.rest();
  framing_fuzz::same("whole and cut", run(stream, {}, plan), run(stream, cuts, plan));
  return 0;
}
