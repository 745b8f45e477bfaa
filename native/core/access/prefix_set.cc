#include "core/access/prefix_set.h"

#include <algorithm>

namespace iocp {
namespace {

// The address behind the last one is no address: there is nothing it could touch.
bool follows(IpAddress last, IpAddress next) {
  if (last.low != UINT64_MAX) return next.high == last.high && next.low == last.low + 1;
  return last.high != UINT64_MAX && next.high == last.high + 1 && next.low == 0;
}

}  // namespace

PrefixSet::PrefixSet(const std::vector<IpPrefix>& prefixes) {
  std::vector<Range> all;
  all.reserve(prefixes.size());
  for (const IpPrefix& prefix : prefixes) {
    const IpAddress last = prefix.last();
    if (prefix.bits >= IpPrefix::kV4Bits || IpAddress::first_v4() < prefix.address || last < IpAddress::last_v4()) {
      all.push_back({prefix.address, last});
      continue;
    }
    // The addresses of IPv4 lie in the middle of it.
    all.push_back({prefix.address, {0, IpAddress::first_v4().low - 1}});
    all.push_back({{0, IpAddress::last_v4().low + 1}, last});
  }
  std::sort(all.begin(), all.end(), [](const Range& one, const Range& other) { return one.first < other.first; });
  for (const Range& range : all) {
    if (!ranges_.empty() && (!(ranges_.back().last < range.first) || follows(ranges_.back().last, range.first))) {
      ranges_.back().last = (std::max)(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
  ranges_.shrink_to_fit();
}

bool PrefixSet::contains(IpAddress address) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](IpAddress one, const Range& range) { return one < range.first; });
  return after != ranges_.begin() && !((after - 1)->last < address);
}

}  // namespace iocp
