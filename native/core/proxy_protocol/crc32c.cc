#include "core/proxy_protocol/proxy_header.h"

namespace iocp {
namespace {

// Castagnoli's polynomial, its bits reversed.
constexpr uint32_t kPolynomial = 0x82F63B78u;

struct Table {
  uint32_t of[256];
  constexpr Table() : of{} {
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t value = byte;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ ((value & 1) != 0 ? kPolynomial : 0);
      of[byte] = value;
    }
  }
};
constexpr Table kTable;

}  // namespace

uint32_t crc32c(const uint8_t* data, size_t size, uint32_t before) {
  uint32_t value = ~before;
  for (size_t i = 0; i < size; ++i) value = value >> 8 ^ kTable.of[(value ^ data[i]) & 0xFF];
  return ~value;
}

}  // namespace iocp
