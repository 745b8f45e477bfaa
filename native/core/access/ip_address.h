#pragma once
// An address of IPv4 or IPv6 without port and zone: 128 bits. IPv4 stands as a mapped address of IPv6 (RFC
// 4291, 2.5.5.2), so that a host has one spelling, and one kind of prefix serves both families.
#include <cstdint>

namespace iocp {

struct IpAddress {
  uint64_t high = 0;  // the first eight bytes, as a number
  uint64_t low = 0;

  static constexpr IpAddress v4(uint32_t address) { return {0, 0xFFFF00000000ull | address}; }
  static IpAddress v6(const uint8_t* bytes) {
    IpAddress address;
    for (int i = 0; i < 8; ++i) address.high = address.high << 8 | bytes[i];
    for (int i = 8; i < 16; ++i) address.low = address.low << 8 | bytes[i];
    return address;
  }
  constexpr bool is_v4() const { return high == 0 && low >> 32 == 0xFFFF; }
  static constexpr IpAddress first_v4() { return v4(0); }
  static constexpr IpAddress last_v4() { return v4(UINT32_MAX); }
};

constexpr bool operator==(const IpAddress& one, const IpAddress& other) {
  return one.high == other.high && one.low == other.low;
}
constexpr bool operator!=(const IpAddress& one, const IpAddress& other) { return !(one == other); }
constexpr bool operator<(const IpAddress& one, const IpAddress& other) {
  return one.high != other.high ? one.high < other.high : one.low < other.low;
}

// The addresses that begin with the same bits (RFC 4632). What is behind these bits is 0. A prefix of IPv6 has no
// address of IPv4 in it, although ::/0 to ::/80 have the mapped ones: the two families are two spaces, as for
// firewalls.
struct IpPrefix {
  // Before the 32 bits of an IPv4 address.
  static constexpr uint32_t kV4Bits = 96;
  static constexpr uint32_t kMaxBits = 128;

  IpAddress address;
  uint32_t bits = kMaxBits;  // of 128

  // That of an address; `of_bits` above 128 counts as 128.
  static constexpr IpPrefix of(IpAddress address, uint32_t of_bits = kMaxBits) {
    const uint32_t bits = of_bits < kMaxBits ? of_bits : kMaxBits;
    return {{address.high & high_mask(bits), address.low & low_mask(bits)}, bits};
  }
  constexpr bool contains(IpAddress other) const {
    return of(other, bits).address == address && (bits >= kV4Bits || !other.is_v4());
  }
  constexpr IpAddress last() const { return {address.high | ~high_mask(bits), address.low | ~low_mask(bits)}; }

 private:
  static constexpr uint64_t high_mask(uint32_t bits) {
    return bits == 0 ? 0 : bits >= 64 ? ~uint64_t{0} : ~uint64_t{0} << (64 - bits);
  }
  static constexpr uint64_t low_mask(uint32_t bits) {
    return bits <= 64 ? 0 : bits >= 128 ? ~uint64_t{0} : ~uint64_t{0} << (128 - bits);
  }
};

constexpr bool operator==(const IpPrefix& one, const IpPrefix& other) {
  return one.bits == other.bits && one.address == other.address;
}

}  // namespace iocp
