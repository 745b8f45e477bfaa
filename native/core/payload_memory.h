#pragma once
// Blocks for the bytes of packets on their way to JavaScript. Big ones are recycled: fresh memory of the system costs
// a page fault for every 4 KiB, which is more than it costs to read the bytes into it.
//
// Any thread, without a lock. There is one store for the process, since JavaScript gives a block back when it likes,
// also when the engine that the block came from has ended. What the store keeps unused is bounded; it goes back to
// the system by decay(), which the engines' timers call, and with the last user.
#include <cstddef>
#include <cstdint>

namespace iocp {

class PayloadMemory {
 public:
  // Of at least `size` bytes; *capacity says how many may be used. Null when there is no memory.
  static uint8_t* allocate(size_t size, size_t* capacity);
  // The same, for what cannot be done without: where there is no memory, the process ends, as it does when JavaScript
  // has none.
  static uint8_t* need(size_t size, size_t* capacity);
  // May be null.
  static void free(uint8_t* block);
  // Called by the timers of all engines, of which one per period counts: gives those unused blocks back that were not
  // needed at any moment since the time before.
  static void decay(uint64_t now_ms);
  static constexpr uint64_t kPeriodMs = 1000;
  // The most that is kept for the moment.
  static size_t unused_bytes();

  // While there is one, unused blocks are kept.
  class Lease {
   public:
    explicit Lease(bool keeps);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

   private:
    const bool keeps_;
  };

  // Blocks of about these sizes are recycled; larger and smaller ones come from the system.
  static constexpr size_t kSmallest = 64 * 1024;
  static constexpr size_t kLargest = 4 * 1024 * 1024;
  static constexpr size_t kMaxUnused = 64 * 1024 * 1024;
};

}  // namespace iocp
