#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace iocp {

enum class FramingKind : uint8_t { length_field, delimiter, fixed, raw, varint, hp_socket_pack };
enum class Endian : uint8_t { big, little };
enum class OnOversize : uint8_t { close, discard };

// What a user asks for. make_framing() checks it once; decoders and encoders trust it afterwards.
struct FramingOptions {
  static constexpr uint64_t never = UINT64_MAX;
  static constexpr uint32_t whole_header = UINT32_MAX;
  // offset + bytes, and strip, of a length field; both directions keep such a header in place.
  static constexpr uint32_t max_header = 32;
  static constexpr uint32_t max_delimiter = 64;
  static constexpr uint32_t max_delimiters = 16;
  // A packet that is delivered whole lies in one block and its length in one 32-bit word.
  static constexpr uint64_t max_whole_packet = uint64_t{1} << 30;

  FramingKind kind = FramingKind::length_field;

  // Largest packet as it is delivered (stripped bytes do not count; a delimiter never counts).
  uint64_t max_packet = uint64_t{1} << 20;
  // Packets larger than this are passed on in pieces. length_field, varint and hp_socket_pack only.
  uint64_t stream_above = never;
  OnOversize on_oversize = OnOversize::close;
  // With discard: report an oversize frame at once, or when its last byte has gone by.
  bool fail_fast = true;
  // The first byte of a packet is its type. Nothing changes on the wire: an empty packet is legal.
  bool type_byte = false;
  // length_field: types 1, 2 and 3 are those of IOCPS.
  bool iocps_files = false;

  // length_field
  uint32_t offset = 0;
  uint32_t bytes = 4;  // 1, 2, 3, 4 or 8
  Endian endian = Endian::big;
  int64_t adjustment = 0;  // within 32 bits
  uint32_t strip = whole_header;

  // delimiter: the first one that leaves the packet what it is goes behind it.
  std::vector<std::string> delimiters;
  bool strip_delimiter = true;

  // fixed
  uint64_t fixed_bytes = 0;

  // varint: longest prefix, 5 or 10
  uint32_t varint_bytes = 5;

  // hp_socket_pack: 0..1023; 0 sends 0 and accepts any
  uint32_t flag = 0;
};

}  // namespace iocp
