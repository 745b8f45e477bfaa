#pragma once

#include "core/framing/framing.h"

namespace iocp {

// What a length prefix says about its frame. Not `error`: header_size and strip are at most
// max_header and strip <= frame_size >= header_size.
struct FrameHeader {
  uint64_t frame_size;  // as on the wire, header included
  uint32_t header_size;
  uint32_t strip;
  FrameError error;
};

struct FrameLimits {
  uint64_t max_packet;
  uint64_t stream_above;
  OnOversize on_oversize;
  bool fail_fast;

  explicit FrameLimits(const FramingOptions& options);
};

struct FrameInput {
  const uint8_t* at;
  size_t left;

  void take(size_t size) {
    if (size == 0) return;
    at += size;
    left -= size;
  }
};

enum class FrameFlow : uint8_t { go_on, stop, failed };

// Goes on with the frame that the last slice left unfinished (body, stream, discard).
FrameFlow resume_frame(FrameState& state, FrameInput* in, FrameSink& sink);

// A frame whose header has been read, and whose packet is not simply there in the slice. `in` is
// right behind the header; `header` may lie in the slice or elsewhere, not in the state.
FrameFlow begin_frame(const FrameLimits& limits, const FrameHeader& frame, const uint8_t* header, FrameState& state,
                      FrameInput* in, FrameSink& sink);

// The decoder of everything that says a frame's length before the frame. A Parser has
//   bool parse(const uint8_t* data, size_t size, FrameHeader* out) const;
// false: the header is not complete (never with max_header bytes).
template <class Parser>
DecodeResult decode_prefixed(const Parser& parser, const FrameLimits& limits, FrameState& state, const uint8_t* data,
                             size_t size, FrameSink& sink) {
  FrameInput in{data, size};
  FrameFlow flow = FrameFlow::go_on;
  if (!state.at_rest() && state.phase() != FrameState::Phase::header) {
    flow = resume_frame(state, &in, sink);
  }
  while (flow == FrameFlow::go_on && in.left != 0) {
    FrameHeader frame;
    if (state.at_rest()) {
      if (!parser.parse(in.at, in.left, &frame)) {
        state.hold(in.at, in.left, FramingOptions::max_header);
        state.enter(FrameState::Phase::header);
        in.take(in.left);
        break;
      }
      if (frame.error != FrameError::none) {
        state.fail(frame.error, in.at, frame.header_size);
        flow = FrameFlow::failed;
        break;
      }
      const uint64_t packet = frame.frame_size - frame.strip;
      if (frame.frame_size <= in.left && packet <= limits.max_packet && packet <= limits.stream_above) {
        const uint8_t* at = in.at + frame.strip;
        in.take(static_cast<size_t>(frame.frame_size));
        if (!sink.on_packet(at, static_cast<size_t>(packet))) flow = FrameFlow::stop;
        continue;
      }
      const uint8_t* header = in.at;
      in.take(frame.header_size);
      flow = begin_frame(limits, frame, header, state, &in, sink);
      continue;
    }
    // The header crosses the slice's edge.
    state.hold(in.at, 1, FramingOptions::max_header);
    in.take(1);
    if (!parser.parse(state.held(), state.held_size(), &frame)) continue;
    GatheredPacket header;
    state.release(&header);
    if (frame.error != FrameError::none) {
      state.fail(frame.error, header.data(), frame.header_size);
      flow = FrameFlow::failed;
    } else {
      flow = begin_frame(limits, frame, header.data(), state, &in, sink);
    }
  }
  return {size - in.left, flow == FrameFlow::failed ? state.error() : FrameError::none};
}

}  // namespace iocp
