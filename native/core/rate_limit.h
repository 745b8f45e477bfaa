#pragma once
// How fast a peer may send: a bucket of tokens that fills with time. Externally synchronised.
#include <cstdint>

namespace iocp {

// What happens to who is faster.
enum class OnExceed : uint8_t { pause, drop, close, ban };

// `count` units in each `per_ms`, and up to `burst` at once. A count of 0: no limit.
struct RateLimit {
  uint32_t count = 0;
  uint32_t per_ms = 1000;
  uint32_t burst = 0;
  OnExceed on_exceed = OnExceed::pause;
};

// Tokens are counted in units times per_ms, so that no part of one is lost between two looks at the clock. per_ms is
// below 2^27 and every number of units below 2^32: the fullest bucket and what one call takes are below 2^59, and what
// is owed is kept above -2^61.
class TokenBucket {
 public:
  static constexpr uint32_t kMostPerMs = 24u * 60 * 60 * 1000;

  TokenBucket(const RateLimit& limit, uint32_t now) : level_(full(limit)), last_ms_(now) {}

  // up_to_burst: ordinarily. keep: what is saved beyond a burst is not lost, but it is not more afterwards. save: what
  // comes may have waited, so what time has paid for meanwhile is not lost, though it is more than a burst.
  enum class Fill : uint8_t { up_to_burst, keep, save };
  void refill(const RateLimit& limit, uint32_t now, Fill fill = Fill::up_to_burst) {
    const uint32_t passed = now - last_ms_;
    last_ms_ = now;
    if (passed > 0x7FFFFFFFu) return;  // the clock has been put back
    int64_t most = full(limit);
    if (fill == Fill::keep && level_ > most) most = level_;
    if (fill == Fill::save) most += int64_t{kMostSavedMs} * limit.count;
    const int64_t missing = most - level_;
    // So many milliseconds fill it.
    if (missing <= 0 || static_cast<uint64_t>(missing) / limit.count < passed) {
      level_ = most;
    } else {
      level_ += static_cast<int64_t>(uint64_t{passed} * limit.count);
    }
  }
  bool has(const RateLimit& limit, uint32_t units) const { return level_ >= cost(limit, units); }
  // There may be less than nothing afterwards: it is paid back before anything more comes.
  void take(const RateLimit& limit, uint32_t units) {
    level_ -= cost(limit, units);
    if (level_ < -kMostOwed) level_ = -kMostOwed;
  }
  bool is_overdrawn() const { return level_ < 0; }
  // Until has(units); at least 1.
  uint32_t wait_ms(const RateLimit& limit, uint32_t units) const {
    const int64_t missing = cost(limit, units) - level_;
    if (missing <= 0) return 1;
    const uint64_t wait = (static_cast<uint64_t>(missing) + limit.count - 1) / limit.count;
    return wait > 0x7FFFFFFFu ? 0x7FFFFFFFu : static_cast<uint32_t>(wait);
  }

 private:
  static constexpr int64_t kMostOwed = int64_t{1} << 61;
  static constexpr uint32_t kMostSavedMs = 60u * 60 * 1000;
  static int64_t cost(const RateLimit& limit, uint32_t units) { return int64_t{units} * limit.per_ms; }
  static int64_t full(const RateLimit& limit) { return cost(limit, limit.burst); }

  int64_t level_;
  uint32_t last_ms_;
};

}  // namespace iocp
