#pragma once
// How long a peer may take, and what a connection has to remember to judge it.
//
// Nothing is done per packet but to keep the time: one timer per connection is armed for the nearest limit, and check()
// says what is over and when to look again. All times are milliseconds of one clock, which may wrap around and stands
// still while the whole program does (IoContext::watch_ms).
#include <atomic>
#include <cstdint>

namespace iocp {

// 0: no limit. No limit is longer than kLongest, so that a difference of two times says which is later.
struct TimeLimits {
  static constexpr uint32_t kLongest = 0x7FFFFFFFu - 60'000;

  uint32_t first_packet = 0;    // from the beginning of the connection to the end of its first packet
  uint32_t packet = 0;          // from the first byte of a packet to its last; not of one that is streamed
  uint32_t idle_read = 0;       // without a byte of the peer
  uint32_t idle_write = 0;      // without a byte that the peer has taken
  uint32_t idle_both = 0;       // without either
  uint32_t send_stall = 0;      // a write waits, and the peer takes nothing
  uint32_t min_rate_bytes = 0;  // within a packet, in each min_rate_per, the first of which is longer by min_rate_grace
  uint32_t min_rate_per = 0;
  uint32_t min_rate_grace = 0;
  uint32_t life = 0;
  uint32_t life_end = 0;    // so long the peer may take to end its side then
  bool idle_closes = true;  // else an idle connection is told of, and stays

  bool any() const {
    return (first_packet | packet | idle_read | idle_write | idle_both | send_stall | min_rate_bytes | life) != 0;
  }
};

// Which limit is over that ends a connection.
enum class Expiry : uint8_t { none, first_packet, packet, min_rate, idle_read, idle_write, idle_both, send_stall };

// Each direction of the connection has one thread at a time that tells it what happens; anybody may check, several
// threads at once too. What they share is atomic, and each value is valid by itself; that two of them do not belong
// together is seen once at most, which is why nobody is cut at the first look. Order matters in one place: whoever
// begins what has a limit says so first and then looks whether a check is due in time; a check first forgets when it
// was due (begin_check) and then looks at what has begun. So one of the two sees the other.
class TimeWatch {
 public:
  static constexpr uint32_t kNever = 0xFFFFFFFFu;
  // A limit that is over is looked at again after this time, and is over only if it still is: what has come, or has
  // been taken, may be on its way to whoever notes it.
  static constexpr uint32_t kConfirmMs = 30;
  static constexpr uint8_t kMostGrants = 20;

  explicit TimeWatch(uint32_t now) : opened_(now), last_write_(now), last_check_(now) {}
  TimeWatch(const TimeWatch&) = delete;
  TimeWatch& operator=(const TimeWatch&) = delete;

  // -- the receiving direction ------------------------------------------------------------------
  // After some bytes have been decoded. `ended`: the end of a packet was among them, whatever became of it. `open`: a
  // packet has begun and is not complete. True when its limits begin now.
  enum class Open : uint8_t { none, gathered, streamed };
  bool decoded(uint32_t now, bool ended, Open open, uint64_t bytes_read);
  // Whether it reads. While it does not, for reasons of this side, no time counts against the peer. True when it has
  // just begun to read again. `had_packet`: see check().
  bool set_reading(bool on, uint32_t now, bool had_packet);
  // The peer has ended its side: it is not silent, but it has to complete what it has begun.
  void peer_ended() { peer_ended_.store(true, std::memory_order_relaxed); }
  // Whether a write that waits has a limit.
  void set_limits_writes(bool on) { limits_writes_.store(on); }
  bool limits_writes() const { return limits_writes_.load(); }

  // -- the sending direction --------------------------------------------------------------------
  void write_begins(uint32_t now) { write_since_.store(now | 1); }
  void write_ended(uint32_t now, bool taken) {
    write_since_.store(0, std::memory_order_relaxed);
    if (taken) last_write_.store(now, std::memory_order_relaxed);
  }

  // -- any thread -------------------------------------------------------------------------------
  struct Check {
    Expiry expired = Expiry::none;
    uint32_t life_over = 0;  // since so many milliseconds, and one; 0: it is not over
    // With idle events: how often in a row a limit has passed, 0 when it has not passed again.
    uint32_t idle_read = 0;
    uint32_t idle_write = 0;
    uint32_t idle_both = 0;
    uint32_t next = kNever;  // when to look again
  };
  // Before check().
  void begin_check() { next_check_.store(0); }
  // `last_read`: when the last byte of the peer came; before anything came any time that is not later than the
  // connection's beginning. A time that is ahead of the clock, because the clock has been put back, is put back too.
  // `had_packet`: the first one has come. `age`: how long it has lived.
  Check check(const TimeLimits& limits, uint32_t now, uint32_t age, std::atomic<uint32_t>* last_read,
              uint64_t bytes_read, bool had_packet);
  // It is over for what the peer has not sent, but bytes of it are there. This side is to read them first, which it
  // does if `reads`; a peer that always has some there must not go on like that. True when it is cut all the same.
  bool is_late_anyway(bool reads) { return reads && grants_.fetch_add(1, std::memory_order_relaxed) >= kMostGrants; }
  // Notes that a check is due in `delay`. False when one is due by then anyway.
  bool need_check(uint32_t now, uint32_t delay);

  // Milliseconds from one time to a later one; 0 when it is not later.
  static uint32_t elapsed(uint32_t since, uint32_t now) { return is_ahead(since, now) ? 0 : now - since; }
  static bool is_ahead(uint32_t time, uint32_t now) { return now - time > 0x7FFFFFFFu; }

 private:
  static uint32_t later_of(uint32_t a, uint32_t b) { return elapsed(a, b) != 0 ? b : a; }
  static uint64_t rate_of(uint32_t since, uint32_t bytes) { return uint64_t{since} << 32 | bytes; }
  static uint32_t shifted(uint32_t at, uint32_t stopped, uint32_t now);
  static void shift(std::atomic<uint32_t>* time, uint32_t stopped, uint32_t now);
  static uint32_t put_back(std::atomic<uint32_t>* time, uint32_t now);
  Expiry check_rate(const TimeLimits& limits, uint32_t now, uint64_t bytes_read, uint32_t* next);
  Expiry confirm(Expiry expired, uint32_t now, uint32_t* next);

  std::atomic<uint64_t> rate_{0};  // when the window began, and the low half of bytes_read then
  std::atomic<uint32_t> opened_;   // for the first packet: later by what this side did not read before the first packet
  std::atomic<uint32_t> last_write_;        // when the peer has last taken bytes
  std::atomic<uint32_t> packet_since_{0};   // 0: between two packets
  std::atomic<uint32_t> write_since_{0};    // 0: no write is under way
  std::atomic<uint32_t> stopped_since_{0};  // 0: it reads
  std::atomic<uint32_t> read_from_{0};      // not 0: nothing before that time counts as silence of the peer
  std::atomic<uint32_t> next_check_{0};     // 0: none
  std::atomic<uint32_t> last_check_;
  std::atomic<uint16_t> suspected_ms_{0};  // the low half of the time of the first look that found `suspected_`
  std::atomic<Expiry> suspected_{Expiry::none};
  std::atomic<bool> first_window_{false};  // of the rate in a packet
  std::atomic<bool> streamed_{false};      // the packet is
  std::atomic<bool> peer_ended_{false};
  std::atomic<bool> limits_writes_{false};
  std::atomic<uint8_t> grants_{0};  // since it was not late
};

// Each connection with limits has one.
static_assert(sizeof(TimeWatch) <= 48, "with its limits in the profile and its timer shared, that is all it costs");

}  // namespace iocp
