#include "win/engine/access_control.h"

#include <algorithm>
#include <utility>

namespace iocp {

IpAddress ip_of(const Address& address) {
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address.get());
    return IpAddress::v4(ntohl(v4->sin_addr.s_addr));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address.get());
  return IpAddress::v6(v6->sin6_addr.s6_addr);
}

Refusal AccessControl::enter(const Address& remote, Places* places, bool timed, uint8_t* subnet_bits) {
  AccessEntry entry;
  std::lock_guard<SrwLock> guard(lock_);
  const IpAddress address = ip_of(remote);
  const Refusal refusal = places == nullptr ? table_.enter(address, now_ms(), true, &entry, timed)
                                            : table_.enter(address, now_ms(), *places, &entry, timed);
  *subnet_bits = refusal == Refusal::none ? static_cast<uint8_t>(entry.subnet_bits) : kNotCounted;
  return refusal;
}

void AccessControl::leave(const Address& remote, uint8_t subnet_bits) {
  if (subnet_bits == kNotCounted || subnet_bits == kExempt) return;
  std::lock_guard<SrwLock> guard(lock_);
  table_.leave({ip_of(remote), subnet_bits});
}

void AccessControl::count_refused(Refusal refusal) {
  std::lock_guard<SrwLock> guard(lock_);
  table_.count_refused(refusal);
}

Refusal AccessControl::test(IpAddress address) {
  std::lock_guard<SrwLock> guard(lock_);
  return table_.test(address, now_ms(), true);
}

bool AccessControl::offend(const Address& remote, Offence offence) {
  std::lock_guard<SrwLock> guard(lock_);
  return table_.offend(ip_of(remote), offence, now_ms());
}

bool AccessControl::ban_for(const Address& remote, Offence offence) {
  std::lock_guard<SrwLock> guard(lock_);
  return table_.ban_for(ip_of(remote), offence, now_ms());
}

void AccessControl::update(std::shared_ptr<const AccessRules> rules) {
  resets_.store(rules->reset_refused, std::memory_order_relaxed);
  std::shared_ptr<const AccessRules> old;  // may be big, and is freed without the lock
  std::lock_guard<SrwLock> guard(lock_);
  old = table_.rules_in_force();
  table_.update(std::move(rules));
}

uint64_t AccessControl::ban(const IpPrefix& prefix, uint64_t time_ms, uint16_t reason) {
  std::lock_guard<SrwLock> guard(lock_);
  const uint64_t now = now_ms();
  const uint64_t until = table_.bans().ban(prefix, now, time_ms, reason);
  return until == BanList::kForEver ? until : (std::max)(until, now) - now;
}

bool AccessControl::lift(const IpPrefix& prefix) {
  std::lock_guard<SrwLock> guard(lock_);
  return table_.bans().lift(prefix, now_ms());
}

void AccessControl::restore(const KnownBan& ban) {
  std::lock_guard<SrwLock> guard(lock_);
  const uint64_t now = now_ms();
  BanList::Ban kept;
  if (ban.left_ms == kForEver) {
    kept.until_ms = BanList::kForEver;
  } else if (ban.left_ms >= 0) {
    kept.until_ms = now + static_cast<uint64_t>(ban.left_ms);
  } else {
    // The clock begins with the system.
    const uint64_t ago = 0 - static_cast<uint64_t>(ban.left_ms);
    kept.until_ms = ago < now ? now - ago : 1;
  }
  kept.reason = ban.reason;
  kept.times = ban.times;
  kept.automatic = ban.automatic;
  table_.bans().restore(ban.prefix, now, kept);
}

std::vector<AccessControl::KnownBan> AccessControl::bans(size_t first, size_t parts) {
  std::vector<KnownBan> all;
  // A little more than there should be; without the lock, because peers wait for it.
  all.reserve(totals().bans * parts / BanList::kParts * 5 / 4 + parts);
  for (size_t part = first; part < first + parts && part < BanList::kParts; ++part) {
    std::lock_guard<SrwLock> guard(lock_);
    const uint64_t now = now_ms();
    table_.bans().for_each_in(part, now, [&](const IpPrefix& prefix, const BanList::Ban& ban) {
      const int64_t left =
          ban.until_ms == BanList::kForEver ? kForEver : static_cast<int64_t>(ban.until_ms) - static_cast<int64_t>(now);
      all.push_back({prefix, left, ban.reason, ban.times, ban.automatic});
    });
  }
  return all;
}

AccessTable::Totals AccessControl::totals() {
  std::lock_guard<SrwLock> guard(lock_);
  return table_.totals();
}

bool AccessControl::take_refused(Refused* refused) {
  std::lock_guard<SrwLock> guard(lock_);
  const AccessTable::Totals totals = table_.totals();
  bool any = false;
  const auto take = [&](uint64_t total, uint64_t* taken) {
    const uint64_t more = total - std::exchange(*taken, total);
    any = any || more != 0;
    return static_cast<uint32_t>((std::min)(more, uint64_t{UINT32_MAX}));
  };
  for (size_t i = 0; i < kRefusalCount; ++i) refused->counts[i] = take(totals.refused[i], &taken_[i]);
  refused->evictions = take(totals.evictions, &taken_evictions_);
  return any;
}

bool AccessControl::sweep() {
  std::lock_guard<SrwLock> guard(lock_);
  table_.sweep(now_ms());
  return table_.evictions() != taken_evictions_;
}

}  // namespace iocp
