#pragma once
// How fast the peer of one connection may send, and what follows when it is faster. The receiving strand's.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/rate_limit.h"
#include "win/io/profile.h"

namespace iocp {

class ReceiveRates final {
 public:
  ReceiveRates(const Profile& profile, uint32_t now)
      : packet_limit_(profile.packet_rate),
        byte_limit_(profile.byte_rate),
        packets_(packet_limit_, now),
        bytes_(byte_limit_, now) {}
  ReceiveRates(const ReceiveRates&) = delete;
  ReceiveRates& operator=(const ReceiveRates&) = delete;

  // Before packets are decoded.
  void refill(uint32_t now) {
    if (catches_up_ && !behind_ && now - catching_up_since_ > kCatchUpMs) catches_up_ = false;
    const TokenBucket::Fill fill = behind_ || std::exchange(saves_once_, false) ? TokenBucket::Fill::save
                                   : catches_up_                                ? TokenBucket::Fill::keep
                                                                                : TokenBucket::Fill::up_to_burst;
    if (packet_limit_.count != 0) packets_.refill(packet_limit_, now, fill);
    if (byte_limit_.count != 0) bytes_.refill(byte_limit_, now, fill);
  }
  // The strand is about to leave. While it does not read, for whatever reason, what the peer sends in time waits for
  // it, and comes all at once when it goes on: what time pays for meanwhile is saved, until it has caught up.
  void note_reading(bool reads, uint32_t now) {
    if (reads == !behind_) return;
    refill(now);
    behind_ = !reads;
    if (behind_) {
      behind_since_ = now;
    } else if (!catches_up_ || now - behind_since_ >= kCatchUpMs) {
      // Short stops, one after the other, save no more and no more.
      catch_up(now);
    }
  }
  // Before anything: nobody knows how long the peer has waited to be accepted, and what it has sent meanwhile.
  void may_have_waited(uint32_t now) {
    packets_ = TokenBucket(packet_limit_, now - kMostWaitedMs);
    bytes_ = TokenBucket(byte_limit_, now - kMostWaitedMs);
    process_resumed(now);
  }
  // The whole process has not been running, which is said for a while.
  void process_resumed(uint32_t now) {
    if (resumed_ && now - resumed_ms_ <= 2 * kCatchUpMs) return;
    resumed_ = true;
    resumed_ms_ = now;
    saves_once_ = true;
    catch_up(now);
  }
  // All times are of a clock that goes on while the process does not. Some bytes have been read.
  void received(uint32_t bytes, uint32_t now) {
    if (byte_limit_.count == 0 || byte_limit_.on_exceed == OnExceed::drop) return;
    refill(now);
    bytes_.take(byte_limit_, bytes);
    if (!bytes_.is_overdrawn()) return;
    if (byte_limit_.on_exceed == OnExceed::pause) {
      waits_ = true;
    } else {
      exceed(byte_limit_.on_exceed);
    }
  }
  // A packet has come. False: it is dropped, or the connection closes (exceeded()).
  bool admit(uint64_t size) {
    if (exceeded_) return false;
    if (packet_limit_.count != 0) {
      const bool has = packets_.has(packet_limit_, 1);
      if (!has && packet_limit_.on_exceed != OnExceed::pause) return exceed(packet_limit_.on_exceed);
      packets_.take(packet_limit_, 1);
      if (packet_limit_.on_exceed == OnExceed::pause && !packets_.has(packet_limit_, 1)) waits_ = true;
    }
    if (byte_limit_.count == 0 || byte_limit_.on_exceed != OnExceed::drop) return true;
    // One that is larger than the bucket needs it full, and is paid back.
    const auto whole = static_cast<uint32_t>((std::min)(size, uint64_t{UINT32_MAX}));
    if (!bytes_.has(byte_limit_, (std::min)(whole, byte_limit_.burst))) return false;
    bytes_.take(byte_limit_, whole);
    return true;
  }

  // Nothing is read or decoded until there are tokens again.
  bool waits() const { return waits_; }
  // Looks whether it still has to wait: 0, or milliseconds.
  uint32_t wait_ms(uint32_t now) {
    refill(now);
    uint32_t wait = 0;
    if (packet_limit_.count != 0 && packet_limit_.on_exceed == OnExceed::pause && !packets_.has(packet_limit_, 1)) {
      wait = packets_.wait_ms(packet_limit_, 1);
    }
    if (byte_limit_.count != 0 && byte_limit_.on_exceed == OnExceed::pause && bytes_.is_overdrawn()) {
      wait = (std::max)(wait, bytes_.wait_ms(byte_limit_, 0));
    }
    waits_ = wait != 0;
    return wait;
  }
  // The connection has to close, and its peer is perhaps to be banned.
  bool exceeded() const { return exceeded_; }
  bool bans() const { return bans_; }

  bool drops_stream = false;  // of the packet that is being streamed

 private:
  bool exceed(OnExceed how) {
    exceeded_ = how != OnExceed::drop;
    bans_ = how == OnExceed::ban;
    return false;
  }

  const RateLimit packet_limit_;
  const RateLimit byte_limit_;
  TokenBucket packets_;
  TokenBucket bytes_;
  // So long what has waited may take to be read.
  static constexpr uint32_t kCatchUpMs = 1000;
  static constexpr uint32_t kMostWaitedMs = 60'000;

  void catch_up(uint32_t now) {
    catches_up_ = true;
    catching_up_since_ = now;
  }

  uint32_t catching_up_since_ = 0;
  uint32_t behind_since_ = 0;
  uint32_t resumed_ms_ = 0;
  bool catches_up_ = false;
  bool resumed_ = false;
  bool saves_once_ = false;
  bool behind_ = false;
  bool waits_ = false;
  bool exceeded_ = false;
  bool bans_ = false;
};

}  // namespace iocp
