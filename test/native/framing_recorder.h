#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/framing/framing.h"

namespace framing_test {

// What a decoder said, cut-independent: the pieces of a stream are joined.
struct Event {
  enum class Kind { packet, stream, stream_part, discarded };

  Kind kind;
  std::string bytes;    // of the packet or stream; the header of a discarded frame
  uint64_t length = 0;  // announced, or of the discarded frame

  bool operator==(const Event& other) const {
    return kind == other.kind && bytes == other.bytes && length == other.length;
  }
};

std::string describe(const Event& event);
std::string describe(const std::vector<Event>& events);

// Takes events and checks what a FrameSink may rely on; `broken` says what did not hold.
class Recorder final : public iocp::FrameSink {
 public:
  explicit Recorder(const iocp::FrameState& state) : state_(state) {}

  // Bit n of the pattern: say stop to the nth event (of 64, over and over).
  void stop_at(uint64_t pattern) { stops_ = pattern; }
  void join_packets() { join_packets_ = true; }

  bool on_packet(const uint8_t* data, size_t size) override;
  bool on_gathered_packet(iocp::GatheredPacket* held, size_t skip) override;
  bool on_stream_begin(uint64_t length) override;
  bool on_stream_data(const uint8_t* data, size_t size) override;
  bool on_stream_end() override;
  void on_discarded(uint64_t frame_size, const uint8_t* header, size_t header_size) override;

  std::vector<Event> events;
  std::string broken;
  uint64_t said = 0;       // events, pieces counted one by one
  bool said_stop = false;  // since whoever decodes set it to false
  uint64_t streamed = 0;

 private:
  bool answer();
  void check(bool holds, const char* what) {
    if (!holds && broken.empty()) broken = what;
  }

  const iocp::FrameState& state_;
  uint64_t stops_ = 0;
  bool join_packets_ = false;
  bool in_stream_ = false;
};

struct Outcome {
  std::vector<Event> events;
  iocp::FrameError error = iocp::FrameError::none;
  std::string header;  // of the error
  size_t held = 0;
  bool at_rest = true;
  size_t most_heap = 0;
  uint64_t stops = 0;
  std::string broken;

  bool operator==(const Outcome& other) const {
    return events == other.events && error == other.error && header == other.header && held == other.held &&
           at_rest == other.at_rest && broken == other.broken;
  }
};

std::string describe(const Outcome& outcome);

// Decodes `input` in slices that end at `cuts` (rising), each in memory of its own and exact size.
// After a stop the rest of the slice is decoded again. Bit n of `filled`: what the nth slice (of 64, over and
// over) brings for a packet that is gathered is put there without the decoder, where there is room.
Outcome decode_cut(const iocp::Framing& framing, const std::string& input, const std::vector<size_t>& cuts,
                   uint64_t stops = 0, bool join_packets = false, uint64_t filled = 0);

// Header, payload, trailer; false when the payload is refused.
bool encode_whole(const iocp::Framing& framing, const std::string& payload, std::string* wire);

}  // namespace framing_test
