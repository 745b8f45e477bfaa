#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/framing/frame_state.h"
#include "core/framing/framing_options.h"

namespace iocp {

// Implemented by the connection; called on the thread that decodes.
//
// Returning false stops the decoder: it takes no further byte of its input, and decode() returns
// what it has consumed. What was consumed is always reported in full first (a stream's end follows
// its last piece, header bytes that belong to a streamed packet follow its begin), so no event is
// ever owed and a later decode() needs no call without bytes, except for a packet that has become whole
// by FrameState::filled().
class FrameSink {
 public:
  // One whole packet; `data` is valid only during the call. The FrameState is at rest during it.
  virtual bool on_packet(const uint8_t* data, size_t size) = 0;
  // The same for one that came in several slices and was gathered: it is `held` from `skip` on. The block
  // may be taken.
  virtual bool on_gathered_packet(GatheredPacket* held, size_t skip) {
    return on_packet(held->data() + skip, held->size() - skip);
  }
  // A packet above stream_above: its length, then its bytes in pieces (none empty), then the end.
  virtual bool on_stream_begin(uint64_t length) = 0;
  virtual bool on_stream_data(const uint8_t* data, size_t size) = 0;
  virtual bool on_stream_end() = 0;
  // An oversize frame under OnOversize::discard, once per frame. `frame_size` is the whole frame on
  // the wire; 0 when it is not known (a delimiter with fail_fast).
  virtual void on_discarded(uint64_t frame_size, const uint8_t* header, size_t header_size) = 0;

 protected:
  ~FrameSink() = default;
};

// After an error the connection is closed; `consumed` then means nothing, and FrameState::header()
// gives the offending bytes. Decoding on with that state gives the same error again.
struct DecodeResult {
  size_t consumed;
  FrameError error;
};

// What goes round a payload on the wire. `trailer` belongs to the Framing and lives as long as it.
struct FrameEnvelope {
  uint8_t header[FramingOptions::max_header];
  uint32_t header_size;
  uint32_t trailer_size;
  const uint8_t* trailer;
};

// Immutable after creation; shared by connections and threads without locks.
class Framing {
 public:
  virtual ~Framing() = default;
  // `size` may be 0, `data` then null. A sink that changes the framing keeps this one alive until
  // the call has returned.
  virtual DecodeResult decode(FrameState& state, const uint8_t* data, size_t size, FrameSink& sink) const = 0;
  // What goes round any payload of this size. False when none fits (the field, max_packet, a fixed size).
  virtual bool encode(uint64_t payload_size, FrameEnvelope* out) const = 0;
  // Largest payload that encode() accepts.
  virtual uint64_t max_payload() const = 0;
  // What goes round this payload. False when encode() refuses its size, or when its bytes cannot come
  // out of decode() as this one packet: a delimiter inside, or a header kept by `strip` that says another
  // length. Every packet that decode() gives is wrapped, and comes out of decode() again as it was.
  virtual bool wrap(const uint8_t* payload, size_t size, FrameEnvelope* out) const;
  // False when only the size counts: then wrap() is encode(), and a payload need not be at hand (a file).
  virtual bool looks_inside() const { return false; }
  // The first byte of a packet is its type; an empty packet has none.
  bool type_byte() const { return type_byte_; }
  // Packets of types 1, 2 and 3 may speak of files as IOCPS does.
  bool iocps_files() const { return iocps_files_; }

 protected:
  explicit Framing(bool type_byte, bool iocps_files = false) : type_byte_(type_byte), iocps_files_(iocps_files) {}
  Framing(const Framing&) = delete;
  Framing& operator=(const Framing&) = delete;

 private:
  const bool type_byte_;
  const bool iocps_files_;
};

// Null, and a sentence that begins with the option's name in *error, when the options are wrong.
std::shared_ptr<const Framing> make_framing(const FramingOptions& options, std::string* error);

}  // namespace iocp
