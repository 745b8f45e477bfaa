#pragma once
// Who is banned, for how long, and how often it has been: bounded, and forgotten in time.
#include <cstddef>
#include <cstdint>

#include "core/access/access_rules.h"
#include "core/access/prefix_map.h"

namespace iocp {

// Externally synchronised. Milliseconds of any clock that never goes back.
class BanList {
 public:
  static constexpr uint64_t kForEver = UINT64_MAX;

  struct Ban {
    uint64_t until_ms = 0;
    uint16_t reason = 0;    // a number of whoever bans
    uint8_t times = 0;      // so far, without a break that is longer than the longest ban
    uint8_t used_bits = 0;  // the map's
    bool automatic = false;
  };

  using Map = PrefixMap<Ban>;

  void set_policy(const BanPolicy& policy, size_t most);

  // For so long; `time_ms` 0: as the policy says. A ban that is longer already stays. Returns when it ends; now_ms when
  // there is no room. An automatic one, for what a peer has done, never takes the place of one that was wanted.
  uint64_t ban(const IpPrefix& prefix, uint64_t now_ms, uint64_t time_ms, uint16_t reason, bool automatic = false);
  // As it was kept. What is there already and is longer, or has been more often, stays; one that is over holds no more,
  // but the next one is longer.
  void restore(const IpPrefix& prefix, uint64_t now_ms, const Ban& kept);
  // False when there is none. Its history is forgotten too.
  bool lift(const IpPrefix& prefix, uint64_t now_ms);
  // The ban with the longest prefix that holds for an address.
  const Ban* find(IpAddress address, uint64_t now_ms);

  // Calls f(prefix, ban) for those of one of kParts parts that hold, or are over but not forgotten. Parts may be asked
  // for one after the other, with any changes in between: each prefix is in the same one always.
  static constexpr size_t kParts = 256;
  template <class F>
  void for_each_in(size_t part, uint64_t now_ms, F&& f) const {
    static_assert(kParts == Map::kParts, "the parts of the map");
    map_.for_each_in(part, [&](const Map::Entry& entry) {
      if (!is_forgotten(entry.value, now_ms)) f(entry.prefix(), entry.value);
    });
  }
  // Forgets some of those that are over; as many places are looked at.
  void sweep(uint64_t now_ms, size_t places);

  size_t size() const { return map_.size(); }
  size_t bytes() const { return map_.bytes(); }
  // Bans that made way for others before they were over, and automatic ones that found no room.
  uint64_t evictions() const { return evictions_; }

 private:
  Ban* find_or_add(const IpPrefix& prefix, uint64_t now_ms, bool automatic);
  bool is_forgotten(const Ban& ban, uint64_t now_ms) const;
  bool make_room(uint64_t now_ms, bool automatic);
  void set_automatic(Ban* ban, bool automatic);
  void erased(const Ban& ban, uint32_t bits);

  BanPolicy policy_;
  size_t most_ = 100'000;
  Map map_;
  // Of each length of a prefix: an address is looked for with those lengths only that occur.
  uint32_t lengths_[IpPrefix::kMaxBits + 1] = {};
  size_t automatic_ = 0;  // how many are
  uint64_t evictions_ = 0;
};

}  // namespace iocp
