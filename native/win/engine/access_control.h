#pragma once
// Who may connect to the listeners of one engine: the access table with its lock and clock, and what the program is
// told of those who were refused.
//
// Any thread. Made by the JavaScript thread, freed with the engine, after every connection.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "core/access/access_table.h"
#include "win/sys/address.h"
#include "win/sys/srw_lock.h"
#include "win/sys/win.h"

namespace iocp {

class AccessControl final {
 public:
  // For a connection that nobody has counted: it came before there were rules.
  static constexpr uint8_t kNotCounted = UINT8_MAX;
  // For one of a balancer itself, which is neither counted nor banned for what comes through it.
  static constexpr uint8_t kExempt = UINT8_MAX - 2;

  explicit AccessControl(std::shared_ptr<const AccessRules> rules)
      : resets_(rules->reset_refused), table_(std::move(rules)) {}
  AccessControl(const AccessControl&) = delete;
  AccessControl& operator=(const AccessControl&) = delete;

  // Refusal::none: `remote` is in until leave() with the same *subnet_bits, and has taken one of the places. Null: it
  // has one already.
  // `timed`: see AccessTable::enter.
  Refusal enter(const Address& remote, Places* places, bool timed, uint8_t* subnet_bits);
  void leave(const Address& remote, uint8_t subnet_bits);
  void count_refused(Refusal refusal);
  Refusal test(IpAddress address);
  // How the sockets of those who are refused are closed.
  bool resets() const { return resets_.load(std::memory_order_relaxed); }
  // True when it is banned now.
  bool offend(const Address& remote, Offence offence);
  // The same, at the first time.
  bool ban_for(const Address& remote, Offence offence);

  void update(std::shared_ptr<const AccessRules> rules);
  // For so long, 0 as the rules say, BanList::kForEver; returns how long it holds from now on.
  uint64_t ban(const IpPrefix& prefix, uint64_t time_ms, uint16_t reason);
  bool lift(const IpPrefix& prefix);
  static constexpr int64_t kForEver = INT64_MAX;
  struct KnownBan {
    IpPrefix prefix;
    int64_t left_ms;  // below 0: it has been over for so long; kForEver
    uint16_t reason;
    uint8_t times;
    bool automatic;
  };
  void restore(const KnownBan& ban);
  // Those of some parts, from `first` of BanList::kParts on. Peers wait for one part at a time only.
  std::vector<KnownBan> bans(size_t first, size_t parts);
  AccessTable::Totals totals();
  // Since the last call; false when there was nothing. The payload of a record.
  struct Refused {
    uint32_t counts[kRefusalCount];  // for each reason
    uint32_t evictions;              // what was forgotten too early
  };
  bool take_refused(Refused* refused);
  // With the engine's housekeeping. True when something was forgotten too early, which nobody has taken.
  bool sweep();

 private:
  static uint64_t now_ms() { return GetTickCount64(); }

  std::atomic<bool> resets_;
  SrwLock lock_;
  AccessTable table_;                   // under lock_
  uint64_t taken_[kRefusalCount] = {};  // under lock_
  uint64_t taken_evictions_ = 0;        // under lock_
};

// The number that stands for an address in the table.
IpAddress ip_of(const Address& address);

}  // namespace iocp
