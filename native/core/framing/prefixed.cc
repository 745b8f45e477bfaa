#include "core/framing/prefixed.h"

#include <algorithm>
#include <cstring>

namespace iocp {

namespace {

size_t min_left(uint64_t wanted, const FrameInput& in) {
  return static_cast<size_t>(std::min<uint64_t>(wanted, in.left));
}

FrameFlow emit_held(FrameState& state, FrameSink& sink) {
  const size_t skip = state.skip();
  GatheredPacket packet;
  state.release(&packet);
  return sink.on_gathered_packet(&packet, skip) ? FrameFlow::go_on : FrameFlow::stop;
}

FrameFlow go_on_body(FrameState& state, FrameInput* in, FrameSink& sink) {
  const size_t size = min_left(state.left(), *in);
  if (!state.hold(in->at, size, state.held_size() + state.left())) {
    GatheredPacket lost;
    state.release(&lost);
    state.fail(FrameError::out_of_memory, lost.data(), std::min<size_t>(lost.size(), 16));
    return FrameFlow::failed;
  }
  in->take(size);
  state.set_left(state.left() - size);
  return state.left() == 0 ? emit_held(state, sink) : FrameFlow::go_on;
}

// The state says "at rest" before the last piece is shown, so that the boundary is right in
// whatever the sink does from on_stream_end().
FrameFlow stream_piece(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) {
  const bool last = state.left() == 0;
  if (last) state.reset();
  bool go_on = sink.on_stream_data(data, size);
  if (last && !sink.on_stream_end()) go_on = false;
  return go_on ? FrameFlow::go_on : FrameFlow::stop;
}

FrameFlow go_on_stream(FrameState& state, FrameInput* in, FrameSink& sink) {
  const size_t skipped = min_left(state.skip(), *in);
  in->take(skipped);
  state.set_skip(state.skip() - static_cast<uint32_t>(skipped));
  const size_t size = min_left(state.left() - skipped, *in);
  state.set_left(state.left() - skipped - size);
  if (size == 0) return FrameFlow::go_on;
  const uint8_t* at = in->at;
  in->take(size);
  return stream_piece(state, at, size, sink);
}

FrameFlow go_on_discard(FrameState& state, FrameInput* in, FrameSink& sink) {
  const size_t size = min_left(state.left(), *in);
  in->take(size);
  state.set_left(state.left() - size);
  if (state.left() != 0) return FrameFlow::go_on;
  const uint64_t unreported = state.unreported();
  uint8_t header[FramingOptions::max_header];
  const size_t header_size = state.kept_header_size();
  std::memcpy(header, state.kept_header(), sizeof(header));
  state.reset();
  if (unreported != 0) sink.on_discarded(unreported, header, header_size);
  return FrameFlow::go_on;
}

FrameFlow begin_discard(const FrameLimits& limits, const FrameHeader& frame, const uint8_t* header, FrameState& state,
                        FrameInput* in, FrameSink& sink) {
  if (limits.on_oversize == OnOversize::close) {
    state.fail(FrameError::too_large, header, frame.header_size);
    return FrameFlow::failed;
  }
  state.keep_header(header, frame.header_size);
  state.enter(FrameState::Phase::discard);
  state.set_left(frame.frame_size - frame.header_size);
  if (limits.fail_fast) {
    sink.on_discarded(frame.frame_size, header, frame.header_size);
  } else {
    state.set_unreported(frame.frame_size);
  }
  return go_on_discard(state, in, sink);
}

FrameFlow begin_stream(const FrameHeader& frame, const uint8_t* header, FrameState& state, FrameInput* in,
                       FrameSink& sink) {
  const uint32_t in_header = std::min(frame.strip, frame.header_size);
  state.enter(FrameState::Phase::stream);
  state.set_skip(frame.strip - in_header);
  state.set_left(frame.frame_size - frame.header_size);
  bool go_on = sink.on_stream_begin(frame.frame_size - frame.strip);
  const size_t kept = frame.header_size - in_header;
  if (kept != 0 && stream_piece(state, header + in_header, kept, sink) == FrameFlow::stop) {
    go_on = false;
  }
  if (!go_on) return FrameFlow::stop;
  return state.at_rest() ? FrameFlow::go_on : go_on_stream(state, in, sink);
}

}  // namespace

FrameLimits::FrameLimits(const FramingOptions& options)
    : max_packet(options.max_packet),
      stream_above(options.stream_above),
      on_oversize(options.on_oversize),
      fail_fast(options.fail_fast) {}

FrameFlow resume_frame(FrameState& state, FrameInput* in, FrameSink& sink) {
  switch (state.phase()) {
    case FrameState::Phase::body:
      return go_on_body(state, in, sink);
    case FrameState::Phase::whole:
      return emit_held(state, sink);
    case FrameState::Phase::stream:
      return go_on_stream(state, in, sink);
    case FrameState::Phase::discard:
      return go_on_discard(state, in, sink);
    case FrameState::Phase::failed:
      return FrameFlow::failed;
    case FrameState::Phase::rest:
    case FrameState::Phase::header:
      break;
  }
  return FrameFlow::go_on;
}

FrameFlow begin_frame(const FrameLimits& limits, const FrameHeader& frame, const uint8_t* header, FrameState& state,
                      FrameInput* in, FrameSink& sink) {
  const uint64_t packet = frame.frame_size - frame.strip;
  if (packet > limits.max_packet) return begin_discard(limits, frame, header, state, in, sink);
  if (packet > limits.stream_above) return begin_stream(frame, header, state, in, sink);

  const uint64_t body = frame.frame_size - frame.header_size;
  if (frame.strip >= frame.header_size && body <= in->left) {
    const size_t skip = frame.strip - frame.header_size;
    const uint8_t* at = in->at;
    in->take(static_cast<size_t>(body));
    if (skip != 0) at += skip;
    return sink.on_packet(at, static_cast<size_t>(packet)) ? FrameFlow::go_on : FrameFlow::stop;
  }
  // At most max_header bytes: these need no block and cannot fail.
  state.hold(header, frame.header_size, frame.frame_size);
  state.enter(FrameState::Phase::body);
  state.set_skip(frame.strip);
  state.set_left(body);
  return go_on_body(state, in, sink);
}

}  // namespace iocp
