#pragma once
// A set of addresses that is given as prefixes and asked for each peer. Immutable, so that whoever reads it needs no
// lock.
#include <cstddef>
#include <vector>

#include "core/access/ip_address.h"

namespace iocp {

class PrefixSet {
 public:
  PrefixSet() = default;
  // They may overlap.
  explicit PrefixSet(const std::vector<IpPrefix>& prefixes);

  // O(log n).
  bool contains(IpAddress address) const;
  bool empty() const { return ranges_.empty(); }
  // Ranges that do not touch each other.
  size_t ranges() const { return ranges_.size(); }

 private:
  struct Range {
    IpAddress first;
    IpAddress last;
  };
  std::vector<Range> ranges_;  // in order
};

}  // namespace iocp
