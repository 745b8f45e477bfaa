#pragma once
// What has to come from a peer before its connection is one for the program: before the framing, and before the record
// CONNECTION. Until then JavaScript does not know of the connection, and nothing is reported of it.
//
// Made for the few connections that need one; the receiving strand owns it and lets go of it when it is over. Counted,
// because its timer may be firing at that moment.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/access/access_rules.h"
#include "core/ref.h"
#include "win/io/timers.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Connection;

class Preamble {
 public:
  enum class Step : uint8_t { more, done, failed };

  Preamble(const Preamble&) = delete;
  Preamble& operator=(const Preamble&) = delete;
  void add_ref() { refs_.add(); }
  void release() {
    if (refs_.drop()) delete this;
  }

  // Before the strand runs: from now on it has its time. No time counts while the process stands still, or while its
  // bytes wait for this side.
  void begin(Connection* connection);
  // The strand, or the last count of the connection.
  void end();

  // The strand. Takes so many of the bytes as are its own.
  virtual Step take(const uint8_t* data, size_t size, size_t* used) = 0;
  // The strand, once, behind Step::done. Tells the connection what it has found out; false when the peer may come in
  // without being asked about.
  virtual bool finish(Connection* connection) = 0;
  // Behind finish(): what CONNECTION says behind the addresses.
  virtual const std::vector<uint8_t>& details() const = 0;
  // Why its peer is refused, when it fails.
  virtual Refusal failure() const = 0;

 protected:
  Preamble(uint32_t timeout_ms, Refusal timeout) : timeout_ms_(timeout_ms), timeout_(timeout) {}
  virtual ~Preamble() = default;

 private:
  // The timer's counts: on this and on the connection.
  struct TimerCounts {
    static bool hold(Preamble* preamble);
    static void let_go(Preamble* preamble);
  };
  void time_out();
  void arm(uint32_t delay_ms);

  RefCount refs_;
  const uint32_t timeout_ms_;
  const Refusal timeout_;
  uint32_t since_ms_ = 0;   // by the clock by which peers are judged
  bool suspected_ = false;  // it was late at the last look; the timer's
  uint32_t grants_ = 0;     // how often it has been waited for because its bytes were there; the timer's
  SrwLock lock_;
  bool ended_ = false;  // under lock_
  Connection* connection_ = nullptr;
  MemberTimer<Preamble, &Preamble::time_out, TimerCounts> timer_{this};
};

}  // namespace iocp
