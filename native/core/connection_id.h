#pragma once
// The name of a connection: a slot in the process-wide slot space and the generation of its use.
// A pair is never given out twice in a process, so a stale id is a clean miss.
#include <cstdint>

namespace iocp {

constexpr uint32_t kSlotBits = 21;
constexpr uint32_t kMaxSlots = 1u << kSlotBits;
constexpr uint32_t kSegmentBits = 10;  // slots come in segments of 1024
constexpr uint32_t kSegmentSlots = 1u << kSegmentBits;
constexpr uint32_t kMaxSegments = kMaxSlots / kSegmentSlots;

struct ConnectionId {
  uint32_t slot = 0;
  uint32_t generation = 0;  // 0: no connection

  constexpr bool valid() const { return generation != 0 && slot < kMaxSlots; }
  constexpr uint32_t segment() const { return slot >> kSegmentBits; }
  constexpr uint32_t index_in_segment() const { return slot & (kSegmentSlots - 1); }

  // At most 53 bits: exact as a JavaScript number.
  constexpr uint64_t number() const { return (static_cast<uint64_t>(generation) << kSlotBits) | slot; }
  // A number that cannot be an id gives an id that is not valid.
  static constexpr ConnectionId from_number(uint64_t number) {
    const uint64_t generation = number >> kSlotBits;
    if (generation > 0xFFFFFFFFu) return {};
    return {static_cast<uint32_t>(number & (kMaxSlots - 1)), static_cast<uint32_t>(generation)};
  }
};

constexpr bool operator==(ConnectionId a, ConnectionId b) { return a.slot == b.slot && a.generation == b.generation; }
constexpr bool operator!=(ConnectionId a, ConnectionId b) { return !(a == b); }

}  // namespace iocp
