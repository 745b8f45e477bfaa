#pragma once
// Decides who is let in: rules, bans, and what is known of each address that has connections or has had some lately.
// Nothing that an address does costs more than its own entry; what is remembered without a connection is bounded.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/access/access_rules.h"
#include "core/access/ban_list.h"
#include "core/access/places.h"
#include "core/access/prefix_map.h"

namespace iocp {

// One connection that has been let in; leave() takes it back, whatever the rules have become.
struct AccessEntry {
  // Of a peer that nothing limits: neither its address nor its subnet count it.
  static constexpr uint32_t kAllowed = 254;
  IpAddress address;
  uint32_t subnet_bits = 0;
};

// Externally synchronised. Milliseconds of any clock that never goes back.
class AccessTable {
 public:
  explicit AccessTable(std::shared_ptr<const AccessRules> rules);

  // In force at once; those who are in stay in.
  void update(std::shared_ptr<const AccessRules> rules);
  const std::shared_ptr<const AccessRules>& rules_in_force() const { return rules_; }

  // Refusal::none: it is in, until leave(), and has taken one of the places. That comes last: who is refused for
  // something else never has one.
  // `timed` false: when it came is not known, so the rate neither judges nor counts it.
  Refusal enter(IpAddress address, uint64_t now_ms, Places& places, AccessEntry* entry, bool timed = true);
  // For who has a place already, or `has_room` false: for whom there is none.
  Refusal enter(IpAddress address, uint64_t now_ms, bool has_room, AccessEntry* entry, bool timed = true);
  void leave(const AccessEntry& entry);
  // Somebody has been refused that enter() was not asked about.
  void count_refused(Refusal refusal) { ++refused_[static_cast<size_t>(refusal)]; }
  // What enter() would say; nothing is counted.
  Refusal test(IpAddress address, uint64_t now_ms, bool has_room);

  // True when that was one too many: it is banned now.
  bool offend(IpAddress address, Offence offence, uint64_t now_ms);
  // The same for one that is to be banned at once, whatever the rules count.
  bool ban_for(IpAddress address, Offence offence, uint64_t now_ms);
  // The prefix that is banned for what an address does: its own, of a global one of IPv6 the subnet's, which is all one
  // customer's.
  IpPrefix prefix_to_ban(IpAddress address) const;

  BanList& bans() { return bans_; }
  // Forgets some of what is over. The table is gone through within some calls, however big it is.
  void sweep(uint64_t now_ms);

  struct Totals {
    uint64_t refused[kRefusalCount];
    uint64_t connections;
    size_t addresses;  // with a connection
    size_t subnets;    // with a connection
    size_t rates;      // that are remembered
    size_t bans;
    size_t bytes;
    uint64_t evictions;  // entries and bans that were forgotten too early, and bans that found no room
  };
  Totals totals() const;
  uint64_t evictions() const { return evictions_ + bans_.evictions(); }

 private:
  struct Peer {
    uint32_t connections = 0;
    uint8_t used_bits = 0;  // the map's
  };
  // Of whom a ban for it would be (prefix_to_ban): who has a subnet of IPv6 comes from another address each time.
  struct Rate {
    uint64_t next_us = 0;   // GCRA: up to here the connections so far are paid for
    uint8_t used_bits = 0;  // the map's
  };
  struct Subnet {
    uint32_t connections = 0;
    uint8_t used_bits = 0;  // the map's
  };
  struct Offences {
    uint64_t since_ms = 0;
    uint32_t count = 0;
    uint8_t used_bits = 0;  // the map's
  };
  using Peers = PrefixMap<Peer>;
  using Rates = PrefixMap<Rate>;
  using Subnets = PrefixMap<Subnet>;
  using OffenceMap = PrefixMap<Offences>;

  Refusal judge(IpAddress address, uint64_t now_ms, bool has_room, bool timed);
  Refusal settle(Refusal refusal, IpAddress address, uint64_t now_ms, AccessEntry* entry, bool timed);
  uint64_t ahead_us(const Rate& rate, uint64_t now_us) const;
  bool within_rate(IpAddress address, uint64_t now_us);
  void pay_for(IpAddress address, uint64_t now_us);
  uint64_t interval_us() const;
  IpPrefix subnet_of(IpAddress address) const;
  void make_room_for_rate(uint64_t now_us);

  std::shared_ptr<const AccessRules> rules_;
  BanList bans_;
  Peers peers_;
  Rates rates_;
  Subnets subnets_;
  OffenceMap offences_[kOffenceCount];
  uint64_t connections_ = 0;
  uint64_t refused_[kRefusalCount] = {};
  uint64_t evictions_ = 0;
};

}  // namespace iocp
