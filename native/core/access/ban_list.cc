#include "core/access/ban_list.h"

#include <algorithm>

namespace iocp {
namespace {

// Places that are looked at for an entry that may go, before one that still holds has to.
constexpr size_t kPlacesToSearch = 64;

}  // namespace

void BanList::set_policy(const BanPolicy& policy, size_t most) {
  policy_ = policy;
  most_ = (std::max)(most, size_t{1});
}

// A peer that comes back after so long begins anew.
bool BanList::is_forgotten(const Ban& ban, uint64_t now_ms) const {
  return ban.until_ms <= now_ms && now_ms - ban.until_ms >= policy_.max_ms;
}

// Null when there is no room.
BanList::Ban* BanList::find_or_add(const IpPrefix& prefix, uint64_t now_ms, bool automatic) {
  Ban* ban = map_.find(prefix);
  if (ban == nullptr) {
    if (map_.size() >= most_ && !make_room(now_ms, automatic)) {
      ++evictions_;
      return nullptr;
    }
    ban = &map_.insert(prefix);
    ++lengths_[prefix.bits];
  } else if (is_forgotten(*ban, now_ms)) {
    ban->times = 0;
    ban->until_ms = 0;
  }
  return ban;
}

void BanList::restore(const IpPrefix& prefix, uint64_t now_ms, const Ban& kept) {
  if (is_forgotten(kept, now_ms)) return;
  Ban* ban = find_or_add(prefix, now_ms, kept.automatic);
  if (ban == nullptr) return;
  ban->times = (std::max)(ban->times, kept.times);
  if (kept.until_ms <= ban->until_ms) return;
  ban->until_ms = kept.until_ms;
  ban->reason = kept.reason;
  set_automatic(ban, kept.automatic);
}

uint64_t BanList::ban(const IpPrefix& prefix, uint64_t now_ms, uint64_t time_ms, uint16_t reason, bool automatic) {
  Ban* ban = find_or_add(prefix, now_ms, automatic);
  if (ban == nullptr) return now_ms;
  if (time_ms == 0) {
    double time = static_cast<double>(policy_.time_ms);
    for (uint32_t i = 0; i < ban->times && time < static_cast<double>(policy_.max_ms); ++i) time *= policy_.factor;
    time_ms = (std::min)(static_cast<uint64_t>((std::min)(time, 1e18)), policy_.max_ms);
  }
  const uint64_t until = time_ms == kForEver ? kForEver : now_ms + time_ms;
  if (ban->times != UINT8_MAX) ++ban->times;
  const bool held = ban->until_ms > now_ms;
  if (until > ban->until_ms) {
    ban->until_ms = until;
    ban->reason = reason;
    set_automatic(ban, automatic);
  } else if (held && ban->automatic && !automatic) {
    // From now on it is wanted, as long as the other one would have held.
    ban->reason = reason;
    set_automatic(ban, false);
  }
  return ban->until_ms;
}

bool BanList::lift(const IpPrefix& prefix, uint64_t now_ms) {
  const Ban* ban = map_.find(prefix);
  if (ban == nullptr) return false;
  const bool held = ban->until_ms > now_ms;
  erased(*ban, prefix.bits);
  map_.erase(prefix);
  return held;
}

const BanList::Ban* BanList::find(IpAddress address, uint64_t now_ms) {
  if (map_.size() == 0) return nullptr;
  const uint32_t least = address.is_v4() ? IpPrefix::kV4Bits : 0;
  for (uint32_t bits = IpPrefix::kMaxBits + 1; bits-- != least;) {
    if (lengths_[bits] == 0) continue;
    const Ban* ban = map_.find(IpPrefix::of(address, bits));
    if (ban != nullptr && ban->until_ms > now_ms) return ban;
  }
  return nullptr;
}

void BanList::sweep(uint64_t now_ms, size_t places) {
  map_.sweep(places, [&](const Map::Entry& entry) {
    if (!is_forgotten(entry.value, now_ms)) return false;
    erased(entry.value, entry.prefix().bits);
    return true;
  });
}

// Those that are over go first, then automatic ones; two at a time, so that a table that has become smaller gets there.
// False when only bans that were wanted have been found, and the new one is automatic.
bool BanList::make_room(uint64_t now_ms, bool automatic) {
  size_t wanted = map_.size() > most_ ? 2 : 1;
  size_t gone = 0;
  const auto sweep = [&](auto&& may_go) {
    map_.sweep((std::min)(kPlacesToSearch, map_.capacity()), [&](const Map::Entry& entry) {
      if (gone == wanted || !may_go(entry.value)) return false;
      ++gone;
      if (entry.value.until_ms > now_ms) ++evictions_;
      erased(entry.value, entry.prefix().bits);
      return true;
    });
  };
  sweep([&](const Ban& ban) { return ban.until_ms <= now_ms; });
  // Peers must not make it look at more; the program may.
  const size_t rounds = automatic ? 1 : map_.capacity() / kPlacesToSearch + 1;
  for (size_t i = 0; i < rounds && gone == 0 && automatic_ != 0; ++i)
    sweep([](const Ban& ban) { return ban.automatic; });
  if (gone == 0 && automatic) return false;
  while (gone == 0) sweep([](const Ban&) { return true; });
  return true;
}

void BanList::set_automatic(Ban* ban, bool automatic) {
  automatic_ = automatic_ - (ban->automatic ? 1 : 0) + (automatic ? 1 : 0);
  ban->automatic = automatic;
}

void BanList::erased(const Ban& ban, uint32_t bits) {
  --lengths_[bits];
  if (ban.automatic) --automatic_;
}

}  // namespace iocp
