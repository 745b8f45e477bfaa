#pragma once
// What messages hold: the number of the connection that sent it, its own number, and bytes that follow from both. A
// reply is compared byte for byte.
#include <cstdint>
#include <cstring>
#include <vector>

namespace bench {

constexpr size_t kHeader = 4;   // the length, big-endian
constexpr size_t kNumbers = 8;  // the two numbers

class Content {
 public:
  explicit Content(size_t largest) : bytes_(largest + kSpread) {
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (uint8_t& byte : bytes_) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<uint8_t>(state >> 56);
    }
  }

  // Writes kHeader + size bytes.
  void write(uint8_t* to, size_t size, uint32_t sender, uint32_t number) const {
    for (size_t i = 0; i < kHeader; ++i) to[i] = static_cast<uint8_t>(size >> (8 * (3 - i)));
    std::memcpy(to + kHeader, &sender, 4);
    std::memcpy(to + kHeader + 4, &number, 4);
    std::memcpy(to + kHeader + kNumbers, rest(sender, number), size - kNumbers);
  }

  // Are these the `count` bytes from `offset` on of the payload?
  bool matches(const uint8_t* bytes, size_t offset, size_t count, uint32_t sender, uint32_t number) const {
    if (offset < kNumbers) {
      uint8_t numbers[kNumbers];
      std::memcpy(numbers, &sender, 4);
      std::memcpy(numbers + 4, &number, 4);
      const size_t part = count < kNumbers - offset ? count : kNumbers - offset;
      if (std::memcmp(bytes, numbers + offset, part) != 0) return false;
      bytes += part;
      offset += part;
      count -= part;
    }
    return count == 0 || std::memcmp(bytes, rest(sender, number) + (offset - kNumbers), count) == 0;
  }

 private:
  static constexpr size_t kSpread = 4096;
  const uint8_t* rest(uint32_t sender, uint32_t number) const {
    return bytes_.data() + (sender * 131 + number * 17) % kSpread;
  }
  std::vector<uint8_t> bytes_;
};

}  // namespace bench
