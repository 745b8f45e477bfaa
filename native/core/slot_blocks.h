#pragma once
// Who may use which slots: hands blocks of 1024 slots to the slot maps of the process (one map per
// engine) and takes them back together with the first generation that was not used in them, so that
// a (slot, generation) pair never comes twice whichever map uses the block next.
#include <atomic>
#include <cstdint>

#include "core/connection_id.h"

namespace iocp {

// Lock-free on purpose: at process exit the system stops the other threads wherever they are, and
// a lock that one of them held would hang whoever cleans up afterwards. Zero-initialised and
// trivially destructible for the same reason: usable from before the first static object is made
// until after the last one is gone.
class SlotBlocks {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFFu;

  // The lowest free block, or kNone. Every slot of it may be used from `*first_generation` on.
  uint32_t claim(uint32_t* first_generation);

  // `next_generation` is above every generation that was used in the block; 2^32 when one of its
  // slots has none left: the block is then never handed out again.
  void give_back(uint32_t block, uint64_t next_generation);

  uint32_t claimed() const;

 private:
  static constexpr uint64_t kTaken = 1ull << 63;
  // Per block: the highest generation used in it, and kTaken while a map has it.
  std::atomic<uint64_t> blocks_[kMaxSegments] = {};
};

// The one for the connections of this process.
SlotBlocks& process_slot_blocks();

}  // namespace iocp
