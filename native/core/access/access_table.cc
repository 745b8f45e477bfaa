#include "core/access/access_table.h"

#include <algorithm>
#include <utility>

namespace iocp {
namespace {

constexpr size_t kPlacesPerSweep = 4096;
constexpr size_t kPlacesToSearch = 64;

}  // namespace

AccessTable::AccessTable(std::shared_ptr<const AccessRules> rules) { update(std::move(rules)); }

void AccessTable::update(std::shared_ptr<const AccessRules> rules) {
  rules_ = std::move(rules);
  bans_.set_policy(rules_->ban, rules_->table_size);
}

IpPrefix AccessTable::subnet_of(IpAddress address) const {
  return address.is_v4() ? IpPrefix::of(address, IpPrefix::kV4Bits + rules_->v4_subnet_bits)
                         : IpPrefix::of(address, rules_->v6_subnet_bits);
}

IpPrefix AccessTable::prefix_to_ban(IpAddress address) const {
  // ::1 and link-local addresses have their prefix in common with everybody else's.
  const bool is_shared = address.high == 0 || address.high >> 54 == 0xFE80 >> 6;
  return is_shared ? IpPrefix::of(address) : subnet_of(address);
}

uint64_t AccessTable::interval_us() const {
  return (std::max)(uint64_t{1}, uint64_t{rules_->rate_per_ms} * 1000 / rules_->rate_count);
}

// How far ahead of time its connections are paid for. More than a burst was left by other rules, and is forgotten.
uint64_t AccessTable::ahead_us(const Rate& rate, uint64_t now_us) const {
  const uint64_t ahead = rate.next_us > now_us ? rate.next_us - now_us : 0;
  return ahead / interval_us() > rules_->rate_burst ? 0 : ahead;
}

// The generic cell rate algorithm (ITU-T I.371): each connection is paid for by the time that the rate gives it, and
// whoever has paid less than a burst ahead may enter.
bool AccessTable::within_rate(IpAddress address, uint64_t now_us) {
  if (rules_->rate_count == 0) return true;
  const Rate* rate = rates_.find(prefix_to_ban(address));
  if (rate == nullptr) return true;
  const uint64_t paid = (ahead_us(*rate, now_us) + interval_us() - 1) / interval_us();
  return paid < (std::max)(1u, rules_->rate_burst);
}

void AccessTable::pay_for(IpAddress address, uint64_t now_us) {
  if (rules_->rate_count == 0) return;
  const IpPrefix who = prefix_to_ban(address);
  if (rates_.size() >= rules_->table_size && rates_.find(who) == nullptr) make_room_for_rate(now_us);
  Rate& rate = rates_.insert(who);
  rate.next_us = now_us + ahead_us(rate, now_us) + interval_us();
}

// One whose time is over goes first, else the next one; two at a time where the table may be smaller from now on.
void AccessTable::make_room_for_rate(uint64_t now_us) {
  const size_t wanted = rates_.size() > rules_->table_size ? 2 : 1;
  size_t gone = rates_.sweep((std::min)(kPlacesToSearch, rates_.capacity()),
                             [&](const Rates::Entry& entry) { return entry.value.next_us <= now_us; });
  while (gone < wanted && rates_.size() != 0) {
    gone += rates_.sweep(1, [&](const Rates::Entry&) {
      ++evictions_;
      return true;
    });
  }
}

Refusal AccessTable::judge(IpAddress address, uint64_t now_ms, bool has_room, bool timed) {
  if (rules_->allow.contains(address)) return has_room ? Refusal::none : Refusal::max_connections;
  if (rules_->deny.contains(address)) return Refusal::denied;
  if (bans_.find(address, now_ms) != nullptr) return Refusal::banned;
  if (!has_room) return Refusal::max_connections;
  const Peer* peer = peers_.find(IpPrefix::of(address));
  if (peer != nullptr && peer->connections >= rules_->max_per_address) return Refusal::max_per_address;
  if (peer == nullptr && rules_->max_per_address == 0) return Refusal::max_per_address;
  if (rules_->max_per_subnet != AccessRules::kNoLimit) {
    const Subnet* subnet = subnets_.find(subnet_of(address));
    if ((subnet == nullptr ? 0 : subnet->connections) >= rules_->max_per_subnet) return Refusal::max_per_subnet;
  }
  return !timed || within_rate(address, now_ms * 1000) ? Refusal::none : Refusal::connect_rate;
}

Refusal AccessTable::test(IpAddress address, uint64_t now_ms, bool has_room) {
  return judge(address, now_ms, has_room, true);
}

Refusal AccessTable::enter(IpAddress address, uint64_t now_ms, Places& places, AccessEntry* entry, bool timed) {
  Refusal refusal = judge(address, now_ms, places.any_free(), timed);
  if (refusal == Refusal::none && !places.take()) refusal = Refusal::max_connections;
  return settle(refusal, address, now_ms, entry, timed);
}

Refusal AccessTable::enter(IpAddress address, uint64_t now_ms, bool has_room, AccessEntry* entry, bool timed) {
  return settle(judge(address, now_ms, has_room, timed), address, now_ms, entry, timed);
}

// Counts what has come of it.
Refusal AccessTable::settle(Refusal refusal, IpAddress address, uint64_t now_ms, AccessEntry* entry, bool timed) {
  if (refusal != Refusal::none) {
    ++refused_[static_cast<size_t>(refusal)];
    if (refusal == Refusal::connect_rate) offend(address, Offence::connect_rate, now_ms);
    return refusal;
  }
  ++connections_;
  if (rules_->allow.contains(address)) {
    *entry = {address, AccessEntry::kAllowed};
    return Refusal::none;
  }
  const IpPrefix subnet = subnet_of(address);
  *entry = {address, subnet.bits};
  ++peers_.insert(IpPrefix::of(address)).connections;
  if (timed) pay_for(address, now_ms * 1000);
  ++subnets_.insert(subnet).connections;
  return Refusal::none;
}

void AccessTable::leave(const AccessEntry& entry) {
  --connections_;
  if (entry.subnet_bits == AccessEntry::kAllowed) return;
  const IpPrefix subnet = IpPrefix::of(entry.address, entry.subnet_bits);
  if (--subnets_.find(subnet)->connections == 0) subnets_.erase(subnet);
  const IpPrefix host = IpPrefix::of(entry.address);
  if (--peers_.find(host)->connections == 0) peers_.erase(host);
}

bool AccessTable::offend(IpAddress address, Offence offence, uint64_t now_ms) {
  const OffenceLimit& limit = rules_->ban_on[static_cast<size_t>(offence)];
  if (limit.count == 0 || rules_->allow.contains(address)) return false;
  // What it had open when it was banned does not make the ban longer.
  if (bans_.find(address, now_ms) != nullptr) return false;
  const IpPrefix who = prefix_to_ban(address);
  OffenceMap& map = offences_[static_cast<size_t>(offence)];
  if (map.find(who) == nullptr && map.size() >= rules_->table_size) {
    bool found = false;
    while (!found) {
      map.sweep(1, [&](const OffenceMap::Entry& entry) {
        found = true;
        if (now_ms - entry.value.since_ms <= limit.within_ms) ++evictions_;
        return true;
      });
    }
  }
  Offences& offences = map.insert(who);
  if (offences.count == 0 || now_ms - offences.since_ms > limit.within_ms) {
    offences.since_ms = now_ms;
    offences.count = 0;
  }
  if (++offences.count < limit.count) return false;
  map.erase(who);
  return bans_.ban(who, now_ms, 0, static_cast<uint16_t>(offence), true) > now_ms;
}

bool AccessTable::ban_for(IpAddress address, Offence offence, uint64_t now_ms) {
  if (rules_->allow.contains(address) || bans_.find(address, now_ms) != nullptr) return false;
  return bans_.ban(prefix_to_ban(address), now_ms, 0, static_cast<uint16_t>(offence), true) > now_ms;
}

void AccessTable::sweep(uint64_t now_ms) {
  bans_.sweep(now_ms, kPlacesPerSweep);
  rates_.sweep(kPlacesPerSweep, [&](const Rates::Entry& entry) { return entry.value.next_us <= now_ms * 1000; });
  for (size_t i = 0; i < kOffenceCount; ++i) {
    const uint32_t within = rules_->ban_on[i].within_ms;
    offences_[i].sweep(kPlacesPerSweep,
                       [&](const OffenceMap::Entry& entry) { return now_ms - entry.value.since_ms > within; });
  }
}

AccessTable::Totals AccessTable::totals() const {
  Totals totals{};
  std::copy(std::begin(refused_), std::end(refused_), std::begin(totals.refused));
  totals.connections = connections_;
  totals.addresses = peers_.size();
  totals.subnets = subnets_.size();
  totals.bans = bans_.size();
  totals.rates = rates_.size();
  totals.bytes = peers_.bytes() + subnets_.bytes() + rates_.bytes() + bans_.bytes();
  for (const OffenceMap& map : offences_) totals.bytes += map.bytes();
  totals.evictions = evictions();
  return totals;
}

}  // namespace iocp
