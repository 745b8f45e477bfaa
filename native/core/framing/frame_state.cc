#include "core/framing/frame_state.h"

#include <algorithm>
#include <cstring>

#include "core/payload_memory.h"

namespace iocp {

namespace {

// Below this a block is not worth growing step by step.
constexpr uint64_t smallest_block = 256;

}  // namespace

const char* frame_error_name(FrameError error) {
  switch (error) {
    case FrameError::none:
      return "none";
    case FrameError::too_large:
      return "too_large";
    case FrameError::negative_length:
      return "negative_length";
    case FrameError::shorter_than_header:
      return "shorter_than_header";
    case FrameError::shorter_than_strip:
      return "shorter_than_strip";
    case FrameError::bad_flag:
      return "bad_flag";
    case FrameError::bad_varint:
      return "bad_varint";
    case FrameError::out_of_memory:
      return "out_of_memory";
    case FrameError::bad_length:
      return "bad_length";
    case FrameError::bad_transfer:
      return "bad_transfer";
  }
  return "unknown";
}

GatheredPacket::~GatheredPacket() { PayloadMemory::free(block_); }

FrameState::~FrameState() { PayloadMemory::free(block_); }

FrameState::FrameState(FrameState&& other) noexcept { *this = static_cast<FrameState&&>(other); }

FrameState& FrameState::operator=(FrameState&& other) noexcept {
  if (this == &other) return *this;
  drop();
  left_ = other.left_;
  unreported_ = other.unreported_;
  block_ = other.block_;
  size_ = other.size_;
  capacity_ = other.capacity_;
  std::memcpy(inline_, other.inline_, sizeof(inline_));
  header_size_ = other.header_size_;
  skip_ = other.skip_;
  phase_ = other.phase_;
  error_ = other.error_;
  other.block_ = nullptr;
  other.reset();
  return *this;
}

const uint8_t* FrameState::header(size_t* size) const {
  *size = phase_ == Phase::failed ? header_size_ : 0;
  return inline_;
}

void FrameState::reset() {
  drop();
  left_ = 0;
  unreported_ = 0;
  header_size_ = 0;
  skip_ = 0;
  phase_ = Phase::rest;
  error_ = FrameError::none;
}

void FrameState::drop() {
  PayloadMemory::free(block_);
  block_ = nullptr;
  size_ = 0;
  capacity_ = 0;
}

bool FrameState::grow(uint64_t needed, uint64_t limit) {
  const uint64_t doubled = std::max(needed, uint64_t{capacity_} * 2);
  return resize(std::min(std::max(doubled, smallest_block), std::max(limit, needed)));
}

bool FrameState::resize(uint64_t capacity) {
  if (capacity > UINT32_MAX) return false;
  size_t usable = 0;
  uint8_t* block = PayloadMemory::allocate(static_cast<size_t>(capacity), &usable);
  if (block == nullptr) return false;
  if (size_ != 0) std::memcpy(block, held(), size_);
  PayloadMemory::free(block_);
  block_ = block;
  capacity_ = static_cast<uint32_t>(usable);
  return true;
}

bool FrameState::hold(const uint8_t* data, size_t size, uint64_t limit) {
  if (size == 0) return true;
  const uint64_t needed = uint64_t{size_} + size;
  const size_t room = block_ != nullptr ? capacity_ : sizeof(inline_);
  if (needed > room && !grow(needed, limit)) return false;
  uint8_t* to = block_ != nullptr ? block_ : inline_;
  std::memcpy(to + size_, data, size);
  size_ = static_cast<uint32_t>(needed);
  return true;
}

FrameState::Room FrameState::make_room(size_t least) {
  if (phase_ != Phase::body || left_ < least || size_ < least || least == 0) return {nullptr, 0};
  const size_t room = block_ != nullptr ? capacity_ - size_ : 0;
  if (room < least && !resize(size_ + std::min<uint64_t>(left_, size_))) return {nullptr, 0};
  return {block_ + size_, static_cast<size_t>(std::min<uint64_t>(left_, capacity_ - size_))};
}

void FrameState::filled(size_t size) {
  size_ += static_cast<uint32_t>(size);
  left_ -= size;
  if (left_ == 0) phase_ = Phase::whole;
}

void FrameState::release(GatheredPacket* out) {
  out->size_ = size_;
  out->block_ = block_;
  if (block_ == nullptr) std::memcpy(out->small_, inline_, sizeof(inline_));
  block_ = nullptr;
  reset();
}

void FrameState::keep_header(const uint8_t* data, size_t size) {
  const size_t kept = std::min(size, sizeof(inline_));
  // `data` may be what is held.
  if (kept != 0) std::memmove(inline_, data, kept);
  header_size_ = static_cast<uint8_t>(kept);
  drop();
}

FrameError FrameState::fail(FrameError error, const uint8_t* header, size_t size) {
  keep_header(header, size);
  left_ = 0;
  unreported_ = 0;
  skip_ = 0;
  phase_ = Phase::failed;
  error_ = error;
  return error;
}

bool FrameState::keep_tail(const uint8_t* data, size_t size, size_t keep) {
  if (keep == 0 || size == 0) return true;
  if (block_ == nullptr) {
    size_t usable = 0;
    block_ = PayloadMemory::allocate(FramingOptions::max_delimiter, &usable);
    if (block_ == nullptr) return false;
    capacity_ = static_cast<uint32_t>(usable);
    size_ = 0;
  }
  if (size >= keep) {
    std::memcpy(block_, data + (size - keep), keep);
    size_ = static_cast<uint32_t>(keep);
    return true;
  }
  const size_t old = std::min(size_t{size_}, keep - size);
  std::memmove(block_, block_ + (size_ - old), old);
  std::memcpy(block_ + old, data, size);
  size_ = static_cast<uint32_t>(old + size);
  return true;
}

}  // namespace iocp
