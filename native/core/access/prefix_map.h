#pragma once
// A hash table from prefixes to small values: what a server knows of its peers. Peers choose the keys (whoever has an
// IPv6 network has 2^64 of them and more), so the hash has a key of the process that they do not know.
//
// Open addressing with linear probing; an entry that goes is replaced by those behind it, so there are no marks of
// deleted ones. Between 0.6 and 0.75 of the array are in use: with more, a search for what is not there would look at
// many entries (Knuth, volume 3, 6.4), and with less, a million of them would take too much memory.
//
// The array is one of many parts, chosen by the hash, each of which grows, and becomes smaller, for itself: whoever
// holds the lock meanwhile copies one part and not a million entries. No entry changes its part, so one part at a time
// can also be listed.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

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

  static constexpr size_t kParts = 256;

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  size_t bytes() const { return capacity_ * sizeof(Entry) + (parts_ == nullptr ? 0 : kParts * sizeof(Part)); }

  Value* find(const IpPrefix& prefix) {
    if (size_ == 0) return nullptr;
    const uint64_t hash = hash_of(prefix.address, prefix.bits);
    Part& part = part_of(hash);
    const size_t at = index_of(part, hash, prefix);
    return at == kNone ? nullptr : &part.entries[at].value;
  }

  // The value that is there, or a new one.
  Value& insert(const IpPrefix& prefix) {
    if (Value* found = find(prefix)) return *found;
    if (parts_ == nullptr) parts_.reset(new Part[kParts]);
    const uint64_t hash = hash_of(prefix.address, prefix.bits);
    Part& part = part_of(hash);
    if ((size_t{part.size} + 1) * 4 > size_t{part.capacity} * 3) grow(part);
    ++part.size;
    ++size_;
    Entry& entry = part.entries[free_place_for(part, hash)];
    entry.address = prefix.address;
    entry.value = Value{};
    entry.value.used_bits = static_cast<uint8_t>(prefix.bits + 1);
    return entry.value;
  }

  bool erase(const IpPrefix& prefix) {
    if (size_ == 0) return false;
    const uint64_t hash = hash_of(prefix.address, prefix.bits);
    Part& part = part_of(hash);
    const size_t at = index_of(part, hash, prefix);
    if (at == kNone) return false;
    erase_at(part, at);
    shrink_if_sparse(part);
    return true;
  }

  // Looks at `count` places behind those that were looked at last, and erases the entries that may_go(entry) gives up.
  // Returns how many those were. A whole round is as many places as capacity().
  template <class F>
  size_t sweep(size_t count, F&& may_go) {
    size_t erased = 0;
    for (size_t i = 0; i < count && capacity_ != 0; ++i) {
      while (hand_ >= parts_[hand_part_].capacity) {
        hand_ = 0;
        shrink_if_sparse(parts_[hand_part_]);
        hand_part_ = (hand_part_ + 1) % kParts;
      }
      Part& part = parts_[hand_part_];
      if (part.entries[hand_].used() && may_go(static_cast<const Entry&>(part.entries[hand_]))) {
        erase_at(part, hand_);  // another one may stand there now: it is looked at next
        ++erased;
      } else {
        ++hand_;
      }
    }
    return erased;
  }

  // Those of one part, of kParts.
  template <class F>
  void for_each_in(size_t part, F&& f) const {
    if (parts_ == nullptr) return;
    const Part& chosen = parts_[part];
    for (size_t at = 0; at < chosen.capacity; ++at) {
      if (chosen.entries[at].used()) f(static_cast<const Entry&>(chosen.entries[at]));
    }
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  static constexpr size_t kLeast = 4;

  struct Part {
    std::unique_ptr<Entry[]> entries;
    uint32_t capacity = 0;
    uint32_t size = 0;
  };

  // A multiplication and a shift of each word mix all bits (MurmurHash3's finalizer), after the secret was added.
  static uint64_t mixed(uint64_t word) {
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCDull;
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53ull;
    return word ^ word >> 33;
  }
  uint64_t hash_of(const IpAddress& address, uint32_t bits) const {
    return mixed(mixed(mixed(address.high ^ keys_[0]) ^ address.low) ^ keys_[1] ^ bits);
  }
  Part& part_of(uint64_t hash) { return parts_[hash % kParts]; }
  // The upper 32 bits as a fraction of the array's size.
  static size_t home_in(const Part& part, uint64_t hash) {
    return static_cast<size_t>((hash >> 32) * part.capacity >> 32);
  }
  static size_t next(const Part& part, size_t at) { return at + 1 == part.capacity ? 0 : at + 1; }

  static size_t index_of(const Part& part, uint64_t hash, const IpPrefix& prefix) {
    if (part.size == 0) return kNone;
    const auto used_bits = static_cast<uint8_t>(prefix.bits + 1);
    for (size_t at = home_in(part, hash); part.entries[at].used(); at = next(part, at)) {
      const Entry& entry = part.entries[at];
      if (entry.value.used_bits == used_bits && entry.address == prefix.address) return at;
    }
    return kNone;
  }
  static size_t free_place_for(const Part& part, uint64_t hash) {
    size_t at = home_in(part, hash);
    while (part.entries[at].used()) at = next(part, at);
    return at;
  }
  uint64_t hash_of(const Entry& entry) const { return hash_of(entry.address, entry.value.used_bits - 1u); }

  void grow(Part& part) {
    resize(part, part.capacity < kLeast ? static_cast<uint32_t>(kLeast) : part.capacity + part.capacity / 4);
  }
  // After a peak: whoever looks for one that may go would find empty places only. What has just grown has room for
  // twice as many before it grows again.
  void shrink_if_sparse(Part& part) {
    if (part.capacity > 4 * kLeast && part.size < part.capacity / 8) {
      resize(part, (std::max)(static_cast<uint32_t>(kLeast), part.size * 3));
    }
  }
  void resize(Part& part, uint32_t capacity) {
    std::unique_ptr<Entry[]> old(new Entry[capacity]);
    const uint32_t size = part.capacity;
    old.swap(part.entries);
    part.capacity = capacity;
    capacity_ = capacity_ - size + capacity;
    hand_ = &part == &parts_[hand_part_] ? 0 : hand_;
    for (size_t at = 0; at < size; ++at) {
      if (old[at].used()) part.entries[free_place_for(part, hash_of(old[at]))] = std::move(old[at]);
    }
  }

  // Entries behind it that are not at home move up, so that nobody's search ends at the gap.
  void erase_at(Part& part, size_t gap) {
    --part.size;
    --size_;
    for (size_t at = next(part, gap); part.entries[at].used(); at = next(part, at)) {
      const size_t home = home_in(part, hash_of(part.entries[at]));
      // May it stand at the gap? Only if its home is not behind the gap, around the end of the array as well.
      const bool is_between = gap < at ? gap < home && home <= at : gap < home || home <= at;
      if (is_between) continue;
      part.entries[gap] = std::move(part.entries[at]);
      gap = at;
    }
    part.entries[gap] = Entry{};
  }

  uint64_t keys_[2];
  std::unique_ptr<Part[]> parts_;  // with the first entry
  size_t size_ = 0;
  size_t capacity_ = 0;
  size_t hand_part_ = 0;
  size_t hand_ = 0;
};

}  // namespace iocp
