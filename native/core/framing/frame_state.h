#pragma once

#include <cstddef>
#include <cstdint>

#include "core/framing/framing_options.h"

namespace iocp {

// The values are part of the binding: append, never renumber.
enum class FrameError : uint8_t {
  none = 0,
  too_large = 1,
  negative_length = 2,
  shorter_than_header = 3,
  shorter_than_strip = 4,
  bad_flag = 5,
  bad_varint = 6,
  out_of_memory = 7,
  bad_length = 8,
  bad_transfer = 9,  // a packet of a reserved type that is no transfer frame
};

const char* frame_error_name(FrameError error);

// Bytes taken out of a FrameState, so that the state is at rest while a sink looks at them.
class GatheredPacket {
 public:
  GatheredPacket() = default;
  GatheredPacket(const GatheredPacket&) = delete;
  GatheredPacket& operator=(const GatheredPacket&) = delete;
  ~GatheredPacket();
  const uint8_t* data() const { return block_ != nullptr ? block_ : small_; }
  size_t size() const { return size_; }
  bool has_block() const { return block_ != nullptr; }
  // The caller gives it to PayloadMemory::free(). Null when the bytes are few and lie in this object.
  uint8_t* take_block() {
    uint8_t* block = block_;
    block_ = nullptr;
    return block;
  }

 private:
  friend class FrameState;
  uint8_t* block_ = nullptr;
  size_t size_ = 0;
  uint8_t small_[FramingOptions::max_header];
};

// What one connection remembers between two slices of its input. Owned by whoever decodes it; no
// locks. A partial header lies inside; only a partial packet has a heap block, which grows with the
// bytes that came and is never sized by a declared length. (Blocks that are recycled come in sizes of
// their own, up to a quarter larger.)
class FrameState {
 public:
  // whole: the bytes of a body are all there, and only decode() has to be called, if without bytes.
  enum class Phase : uint8_t { rest, header, body, whole, stream, discard, failed };
  struct Room {
    uint8_t* data;
    size_t size;
  };

  FrameState() = default;
  FrameState(FrameState&& other) noexcept;
  FrameState& operator=(FrameState&& other) noexcept;
  FrameState(const FrameState&) = delete;
  FrameState& operator=(const FrameState&) = delete;
  ~FrameState();

  // Between two packets: the framing may be changed here, and only here.
  bool at_rest() const { return phase_ == Phase::rest; }
  // Bytes of an unfinished packet that are held. A packet being streamed or discarded holds none,
  // so ask at_rest() for the boundary.
  size_t buffered() const {
    return phase_ == Phase::header || phase_ == Phase::body || phase_ == Phase::whole ? size_ : 0;
  }
  // The offending bytes after an error.
  const uint8_t* header(size_t* size) const;
  FrameError error() const { return error_; }
  size_t heap_bytes() const { return block_ != nullptr ? capacity_ : 0; }
  void reset();

  // Where the next bytes of the packet that is gathered belong, for a reader that can put them there itself: at
  // least `least` of them, or none when it is not worth while. Memory still follows what has come.
  Room make_room(size_t least);
  // So many bytes stand there now.
  void filled(size_t size);
  bool whole() const { return phase_ == Phase::whole; }

  // The rest is for decoders.
  Phase phase() const { return phase_; }
  void enter(Phase phase) { phase_ = phase; }

  // Appends; no block larger than `limit` is asked for. False: no memory.
  bool hold(const uint8_t* data, size_t size, uint64_t limit);
  const uint8_t* held() const { return block_ != nullptr ? block_ : inline_; }
  size_t held_size() const { return size_; }
  // Moves what is held to `out`; the state is at rest afterwards.
  void release(GatheredPacket* out);

  // Drops what is held, keeps the header of a frame that is discarded or corrupt.
  void keep_header(const uint8_t* data, size_t size);
  const uint8_t* kept_header() const { return inline_; }
  size_t kept_header_size() const { return header_size_; }
  FrameError fail(FrameError error, const uint8_t* header, size_t size);

  // While discarding: the last bytes that went by, at most max_delimiter of them.
  bool keep_tail(const uint8_t* data, size_t size, size_t keep);

  // Bytes of this frame still to come.
  uint64_t left() const { return left_; }
  void set_left(uint64_t left) { left_ = left; }
  // While discarding: the frame's size, still to be reported; 0 when that is done.
  uint64_t unreported() const { return unreported_; }
  void set_unreported(uint64_t size) { unreported_ = size; }
  // Bytes to leave out: at the front of what is held (body), or of what comes next (stream).
  uint32_t skip() const { return skip_; }
  void set_skip(uint32_t skip) { skip_ = static_cast<uint8_t>(skip); }

 private:
  void drop();
  bool grow(uint64_t needed, uint64_t limit);
  bool resize(uint64_t capacity);

  uint64_t left_ = 0;
  uint64_t unreported_ = 0;
  uint8_t* block_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
  // Held bytes while there is no block; the kept header of a discarded or corrupt frame.
  uint8_t inline_[FramingOptions::max_header];
  uint8_t header_size_ = 0;
  uint8_t skip_ = 0;
  Phase phase_ = Phase::rest;
  FrameError error_ = FrameError::none;
};

static_assert(sizeof(FrameState) <= 72, "idle connections pay for every byte of this");

}  // namespace iocp
