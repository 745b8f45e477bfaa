#include "core/slot_blocks.h"

#include <type_traits>

namespace iocp {
namespace {

constexpr uint64_t kLastGeneration = 0xFFFFFFFFu;

static_assert(std::is_trivially_destructible<SlotBlocks>::value, "must outlive every thread");

SlotBlocks g_process_blocks;

}  // namespace

uint32_t SlotBlocks::claim(uint32_t* first_generation) {
  for (uint32_t block = 0; block < kMaxSegments; ++block) {
    uint64_t used = blocks_[block].load(std::memory_order_relaxed);
    while (used < kLastGeneration) {  // neither taken nor used up
      if (blocks_[block].compare_exchange_weak(used, used | kTaken, std::memory_order_acquire,
                                               std::memory_order_relaxed)) {
        *first_generation = static_cast<uint32_t>(used + 1);
        return block;
      }
    }
  }
  return kNone;
}

void SlotBlocks::give_back(uint32_t block, uint64_t next_generation) {
  blocks_[block].store(next_generation - 1, std::memory_order_release);
}

uint32_t SlotBlocks::claimed() const {
  uint32_t count = 0;
  for (const std::atomic<uint64_t>& block : blocks_) {
    if ((block.load(std::memory_order_relaxed) & kTaken) != 0) ++count;
  }
  return count;
}

SlotBlocks& process_slot_blocks() { return g_process_blocks; }

}  // namespace iocp
