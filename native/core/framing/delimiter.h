#pragma once

#include "core/framing/framing.h"
#include "core/framing/prefixed.h"

namespace iocp {

// Frames that end with one of several byte sequences. The one that is complete first ends the
// frame; of several that are complete with the same byte, the longest (the shortest frame). Since
// check() refuses a delimiter that has another inside, this is Netty's rule, but it does not depend
// on how the bytes were cut.
class DelimiterFraming final : public Framing {
 public:
  explicit DelimiterFraming(const FramingOptions& options);

  static bool check(const FramingOptions& options, std::string* error);

  DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const override;
  bool encode(uint64_t payload_size, FrameEnvelope* out) const override;
  uint64_t max_payload() const override;
  bool wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const override;
  bool looks_inside() const override { return true; }

 private:
  struct Match {
    size_t end;  // in the slice, behind the delimiter
    uint32_t length;
  };

  // Looks at each byte of the slice once; `before` are the bytes of the same frame in front of it.
  bool find(const uint8_t* before, size_t before_size, FrameInput in, Match* out) const;
  // Length of the longest delimiter that ends with in.at[last]; 0: none.
  uint32_t ends_at(const uint8_t* before, size_t before_size, const FrameInput& in, size_t last) const;

  void set_trailer(const std::string& delimiter, FrameEnvelope* out) const;

  FrameFlow go_on_frame(FrameState& state, FrameInput* in, FrameSink& sink) const;
  FrameFlow go_on_discard(FrameState& state, FrameInput* in, FrameSink& sink) const;
  FrameFlow oversize(FrameState& state, FrameInput* in, const Match* match, size_t scanned, FrameSink& sink) const;

  const FrameLimits limits_;
  const std::vector<std::string> delimiters_;  // as given; the first one that can is sent
  std::vector<std::string> by_length_;         // longest first
  const bool strip_;
  bool one_last_byte_ = true;  // all end with the same byte: memchr finds it
  bool is_last_byte_[256] = {};
  uint32_t longest_ = 0;
  uint32_t shortest_ = 0;
};

}  // namespace iocp
