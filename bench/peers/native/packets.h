#pragma once
// Packets behind a length of 4 bytes, big-endian.
#include <cstdint>
#include <cstring>
#include <vector>

namespace bench {

constexpr size_t kHeader = 4;

inline uint32_t read_length(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 |
         at[3];
}

inline void append_packet(std::vector<uint8_t>* out, const uint8_t* data, size_t size) {
  const size_t at = out->size();
  out->resize(at + kHeader + size);
  uint8_t* to = out->data() + at;
  for (size_t i = 0; i < kHeader; ++i) to[i] = static_cast<uint8_t>(size >> (8 * (3 - i)));
  if (size != 0) std::memcpy(to + kHeader, data, size);
}

// A buffer that bytes are received into and packets are taken out of.
class PacketBuffer {
 public:
  explicit PacketBuffer(size_t capacity) : bytes_(capacity) {}

  uint8_t* space() { return bytes_.data() + used_; }
  size_t space_size() const { return bytes_.size() - used_; }

  // Calls on_packet(data, size) for each whole packet of the `received` bytes and those before. False
  // when a packet is larger than allowed.
  template <class F>
  bool take(size_t received, uint32_t max_packet, F&& on_packet) {
    used_ += received;
    size_t at = 0;
    size_t wanted = 0;
    while (used_ - at >= kHeader) {
      const uint32_t size = read_length(bytes_.data() + at);
      if (size > max_packet) return false;
      if (used_ - at < kHeader + size) {
        wanted = kHeader + size;
        break;
      }
      on_packet(bytes_.data() + at + kHeader, static_cast<size_t>(size));
      at += kHeader + size;
    }
    used_ -= at;
    if (used_ != 0 && at != 0) std::memmove(bytes_.data(), bytes_.data() + at, used_);
    if (wanted > bytes_.size()) bytes_.resize(wanted);
    return true;
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
};

}  // namespace bench
