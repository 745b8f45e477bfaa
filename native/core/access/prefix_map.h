#pragma once
// A hash table from prefixes to small values: what a server knows of its peers. Peers choose the keys (whoever has an
// IPv6 network has 2^64 of them and more), so the hash has a key of the process that they do not know.
//
// Open addressing with linear probing; an entry that goes is replaced by those behind it, so there are no marks of
// deleted ones. Between 0.6 and 0.75 of the array are in use: with more, a search for what is not there would look at
// many entries (Knuth, volume 3, 6.4), and with less, a million of them would take too much memory.
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "core/access/ip_address.h"

namespace iocp {

// Externally synchronised. Value: small, movable, with a default, and with a member `uint8_t used_bits = 0`, which is
// the map's: among the members of the value it takes no space of its own. Pointers to values are valid until the next
// insert() or erase().
template <class Value>
class PrefixMap {
 public:
  struct Entry {
    IpAddress address;
    Value value{};  // used_bits 0: nobody's; else 1 + the bits of the prefix

    bool used() const { return value.used_bits != 0; }
    IpPrefix prefix() const { return {address, value.used_bits - 1u}; }
  };

  PrefixMap() {
    std::random_device device;
    for (uint64_t& key : keys_) key = uint64_t{device()} << 32 | device();
  }

  size_t size() const { return size_; }
  size_t bytes() const { return entries_.size() * sizeof(Entry); }

  Value* find(const IpPrefix& prefix) {
    const size_t at = index_of(prefix);
    return at == kNone ? nullptr : &entries_[at].value;
  }

  // The value that is there, or a new one.
  Value& insert(const IpPrefix& prefix) {
    if (Value* found = find(prefix)) return *found;
    if ((size_ + 1) * 4 > entries_.size() * 3) grow();
    ++size_;
    Entry& entry = entries_[free_place_for(prefix)];
    entry.address = prefix.address;
    entry.value = Value{};
    entry.value.used_bits = static_cast<uint8_t>(prefix.bits + 1);
    return entry.value;
  }

  bool erase(const IpPrefix& prefix) {
    const size_t at = index_of(prefix);
    if (at == kNone) return false;
    erase_at(at);
    return true;
  }

  // Looks at `count` places behind those that were looked at last, and erases the entries that may_go(entry) gives up.
  // Returns how many those were. A whole round is as many places as capacity().
  template <class F>
  size_t sweep(size_t count, F&& may_go) {
    size_t erased = 0;
    for (size_t i = 0; i < count && !entries_.empty(); ++i) {
      if (hand_ >= entries_.size()) hand_ = 0;
      if (entries_[hand_].used() && may_go(static_cast<const Entry&>(entries_[hand_]))) {
        erase_at(hand_);  // another one may stand there now: it is looked at next
        ++erased;
      } else {
        ++hand_;
      }
    }
    return erased;
  }
  size_t capacity() const { return entries_.size(); }

  template <class F>
  void for_each(F&& f) const {
    for (const Entry& entry : entries_) {
      if (entry.used()) f(entry);
    }
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  static constexpr size_t kLeast = 16;

  // A multiplication and a shift of each word mix all bits (MurmurHash3's finalizer), after the secret was added.
  static uint64_t mixed(uint64_t word) {
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCDull;
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53ull;
    return word ^ word >> 33;
  }
  size_t home_of(const IpAddress& address, uint32_t bits) const {
    const uint64_t hash = mixed(mixed(mixed(address.high ^ keys_[0]) ^ address.low) ^ keys_[1] ^ bits);
    // The upper 32 bits as a fraction of the array's size.
    return static_cast<size_t>((hash >> 32) * entries_.size() >> 32);
  }
  size_t next(size_t at) const { return at + 1 == entries_.size() ? 0 : at + 1; }

  size_t index_of(const IpPrefix& prefix) const {
    if (size_ == 0) return kNone;
    const auto used_bits = static_cast<uint8_t>(prefix.bits + 1);
    for (size_t at = home_of(prefix.address, prefix.bits); entries_[at].used(); at = next(at)) {
      if (entries_[at].value.used_bits == used_bits && entries_[at].address == prefix.address) return at;
    }
    return kNone;
  }
  size_t free_place_for(const IpPrefix& prefix) const {
    size_t at = home_of(prefix.address, prefix.bits);
    while (entries_[at].used()) at = next(at);
    return at;
  }

  void grow() {
    std::vector<Entry> old(entries_.size() < kLeast ? kLeast : entries_.size() + entries_.size() / 4);
    old.swap(entries_);
    hand_ = 0;
    for (Entry& entry : old) {
      if (entry.used()) entries_[free_place_for(entry.prefix())] = std::move(entry);
    }
  }

  // Entries behind it that are not at home move up, so that nobody's search ends at the gap.
  void erase_at(size_t gap) {
    --size_;
    for (size_t at = next(gap); entries_[at].used(); at = next(at)) {
      const size_t home = home_of(entries_[at].address, entries_[at].value.used_bits - 1u);
      // May it stand at the gap? Only if its home is not behind the gap, around the end of the array as well.
      const bool is_between = gap < at ? gap < home && home <= at : gap < home || home <= at;
      if (is_between) continue;
      entries_[gap] = std::move(entries_[at]);
      gap = at;
    }
    entries_[gap] = Entry{};
  }

  uint64_t keys_[2];
  std::vector<Entry> entries_;
  size_t size_ = 0;
  size_t hand_ = 0;
};

}  // namespace iocp
