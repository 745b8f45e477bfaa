#include "core/framing/raw.h"

namespace iocp {

DecodeResult RawFraming::decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const {
  if (state.phase() == FrameState::Phase::failed) return {0, state.error()};
  if (size != 0) sink.on_packet(data, size);
  return {size, FrameError::none};
}

bool RawFraming::encode(uint64_t payload_size, FrameEnvelope* out) const {
  (void)payload_size;
  out->header_size = 0;
  out->trailer = nullptr;
  out->trailer_size = 0;
  return true;
}

}  // namespace iocp
