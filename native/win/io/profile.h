#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/framing/framing.h"
#include "core/rate_limit.h"
#include "core/ref.h"
#include "core/time_limits.h"

namespace iocp {

enum class ReadMode : uint8_t { adaptive, zero_byte, direct };
enum class OverflowPolicy : uint8_t { queue, drop_newest, drop_oldest, close };

// How connections behave.
struct Profile {
  std::shared_ptr<const Framing> receive;
  std::shared_ptr<const Framing> send;

  ReadMode read_mode = ReadMode::adaptive;
  uint32_t pending_reads = 1;  // 1..64

  uint64_t high_water = 1024 * 1024;
  uint64_t low_water = 256 * 1024;
  uint64_t hard_cap = 64u * 1024 * 1024;  // bytes queued, never exceeded
  uint32_t hard_cap_packets = UINT32_MAX;
  OverflowPolicy on_overflow = OverflowPolicy::queue;

  RateLimit packet_rate;  // of what the peer sends
  RateLimit byte_rate;
  TimeLimits time_limits;

  bool no_delay = true;
  bool demand = false;
  bool transfers = false;      // where the framing can carry them, packets of the reserved types are about files
  uint32_t keep_alive_ms = 0;  // 0: off
  uint32_t keep_alive_interval_ms = 1000;
  uint32_t keep_alive_count = 10;
  uint32_t receive_buffer = 0;  // 0: the system's
  uint32_t send_buffer = 0;
  uint32_t type_of_service = 0;
};

// One that is in use; immutable. Counted: one for the engine's table while JavaScript knows its number, one for each
// listener, attempt to connect, connection, file and encoded payload that it belongs to. All of those end before the
// engine does.
class SharedProfile final : public Profile {
 public:
  SharedProfile(Profile profile, std::atomic<uint32_t>* alive) : Profile(std::move(profile)), alive_(alive) {
    alive_->fetch_add(1, std::memory_order_relaxed);
  }
  SharedProfile(const SharedProfile&) = delete;
  SharedProfile& operator=(const SharedProfile&) = delete;

  void add_ref() const { refs_.add(); }
  void release() const {
    if (refs_.drop()) delete this;
  }

 private:
  ~SharedProfile() { alive_->fetch_sub(1, std::memory_order_relaxed); }

  mutable RefCount refs_{0};
  std::atomic<uint32_t>* const alive_;
};

using ProfileRef = Ref<const SharedProfile>;

}  // namespace iocp
