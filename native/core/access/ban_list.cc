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

uint64_t BanList::ban(const IpPrefix& prefix, uint64_t now_ms, uint64_t time_ms, uint16_t reason) {
  Ban* ban = map_.find(prefix);
  if (ban == nullptr) {
    if (map_.size() >= most_) make_room(now_ms);
    ban = &map_.insert(prefix);
    ++lengths_[prefix.bits];
  } else if (is_forgotten(*ban, now_ms)) {
    ban->times = 0;
    ban->until_ms = 0;
  }
  if (time_ms == 0) {
    double time = static_cast<double>(policy_.time_ms);
    for (uint32_t i = 0; i < ban->times && time < static_cast<double>(policy_.max_ms); ++i) time *= policy_.factor;
    time_ms = (std::min)(static_cast<uint64_t>((std::min)(time, 1e18)), policy_.max_ms);
  }
  const uint64_t until = time_ms == kForEver ? kForEver : now_ms + time_ms;
  if (ban->times != UINT8_MAX) ++ban->times;
  if (until > ban->until_ms) {
    ban->until_ms = until;
    ban->reason = reason;
  }
  return ban->until_ms;
}

bool BanList::lift(const IpPrefix& prefix, uint64_t now_ms) {
  const Ban* ban = map_.find(prefix);
  if (ban == nullptr) return false;
  const bool held = ban->until_ms > now_ms;
  map_.erase(prefix);
  erased(prefix.bits);
  return held;
}

const BanList::Ban* BanList::find(IpAddress address, uint64_t now_ms) {
  if (map_.size() == 0) return nullptr;
  for (uint32_t bits = IpPrefix::kMaxBits + 1; bits-- != 0;) {
    if (lengths_[bits] == 0) continue;
    const Ban* ban = map_.find(IpPrefix::of(address, bits));
    if (ban != nullptr && ban->until_ms > now_ms) return ban;
  }
  return nullptr;
}

void BanList::sweep(uint64_t now_ms, size_t places) {
  map_.sweep(places, [&](const Map::Entry& entry) {
    if (!is_forgotten(entry.value, now_ms)) return false;
    erased(entry.prefix().bits);
    return true;
  });
}

// One that is over goes first. Among those that hold there is no better choice than the next: whoever fills the table
// chooses the order of its own bans.
void BanList::make_room(uint64_t now_ms) {
  bool found = false;
  const auto let_go = [&](bool may_hold) {
    return [this, &found, now_ms, may_hold](const Map::Entry& entry) {
      const bool holds = entry.value.until_ms > now_ms;
      if (found || (holds && !may_hold)) return false;
      found = true;
      if (holds) ++evictions_;
      erased(entry.prefix().bits);
      return true;
    };
  };
  map_.sweep((std::min)(kPlacesToSearch, map_.capacity()), let_go(false));
  while (!found) map_.sweep(1, let_go(true));
}

void BanList::erased(uint32_t bits) { --lengths_[bits]; }

}  // namespace iocp
