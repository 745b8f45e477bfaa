#pragma once
// How two ends speak about files in framed mode: each frame is one packet of the connection's framing,
// and its first byte, the type, is one of the eight below. Numbers are big-endian.
//
//   offer   id u32, size u64, flags u8, name length u16, name, metadata (the rest)
//   accept  id u32, offset u64, flags u8, then with `has_hash` the SHA-256 of the bytes before offset
//   reject  id u32, code u16, reason (the rest)
//   start   id u32, offset u64: where the chunks begin
//   chunk   id u32, bytes of the file (at least one)
//   done    id u32, size u64, flags u8, then with `has_hash` the SHA-256 of the whole file
//   stored  id u32: the receiver has verified the file and put it in its place
//   abort   id u32, side u8 (0 it comes from the sender, 1 from the receiver), code u16, reason (rest)
//
// Each side numbers its own offers. offer, start, chunk, done and a sender's abort carry a number of
// the side that they come from; accept, reject, stored and a receiver's abort one of the other side.
#include <cstddef>
#include <cstdint>

namespace iocp {

constexpr uint8_t kTransferTypes = 0xf0;  // 0xf0 to 0xf7 are reserved

// X(enumerator, number): the first byte of the frame.
#define IOCP_TRANSFER_KINDS(X) \
  X(offer, 0xf0)               \
  X(accept, 0xf1)              \
  X(reject, 0xf2)              \
  X(start, 0xf3)               \
  X(chunk, 0xf4)               \
  X(done, 0xf5)                \
  X(stored, 0xf6)              \
  X(abort, 0xf7)

#define IOCP_ENUMERATOR(name, number) name = number,
enum class TransferKind : uint8_t { IOCP_TRANSFER_KINDS(IOCP_ENUMERATOR) };
#undef IOCP_ENUMERATOR

constexpr size_t kTransferChunkHeader = 5;
constexpr size_t kTransferHash = 32;
constexpr size_t kTransferMaxName = 1024;
constexpr size_t kTransferMaxMetadata = 16 * 1024;
constexpr size_t kTransferMaxReason = 1024;
constexpr size_t kTransferMaxControl = 18 + kTransferMaxName + kTransferMaxMetadata;
constexpr uint64_t kTransferMaxSize = 9007199254740991;  // what both ends can count exactly

// Bytes are not owned: they lie in the frame that was decoded, or where the encoder is to take them.
struct TransferFrame {
  TransferKind kind = TransferKind::abort;
  uint8_t side = 0;
  bool has_hash = false;  // of an offer: the hash will come with `done`
  uint16_t code = 0;
  uint32_t id = 0;
  uint64_t number = 0;            // size of offer and done, offset of accept and start
  const uint8_t* hash = nullptr;  // kTransferHash bytes
  const uint8_t* name = nullptr;
  size_t name_size = 0;
  const uint8_t* rest = nullptr;  // metadata, reason, or the bytes of a chunk
  size_t rest_size = 0;
};

// IOCPS speaks otherwise about files: [1][u32 size, little-endian][name, NUL], [2] and [3].
constexpr size_t kIocpsOfferHeader = 5;
inline bool is_iocps_file(const uint8_t* data, size_t size) {
  if (size == 1) return data[0] == 2 || data[0] == 3;
  return size > kIocpsOfferHeader + 1 && data[0] == 1 && data[size - 1] == 0;
}

inline bool is_transfer_type(uint8_t type) { return (type & 0xf8u) == kTransferTypes; }

// False when the bytes are no transfer frame, or one that says something impossible.
bool decode_transfer(const uint8_t* data, size_t size, TransferFrame* out);
// Bytes written, 0 when they would not fit into `capacity` or `frame` says something impossible. A
// chunk's own bytes are not written, only what goes before them.
size_t encode_transfer(const TransferFrame& frame, uint8_t* out, size_t capacity);

}  // namespace iocp
