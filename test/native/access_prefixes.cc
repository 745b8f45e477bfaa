// Addresses, prefixes, sets of them and the table from them to values.
#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "core/access/ip_address.h"
#include "core/access/prefix_map.h"
#include "core/access/prefix_set.h"
#include "random_numbers.h"

using namespace iocp;

namespace {

constexpr uint32_t ip(uint32_t a, uint32_t b, uint32_t c, uint32_t d) { return a << 24 | b << 16 | c << 8 | d; }
IpPrefix v4(uint32_t address, uint32_t bits) { return IpPrefix::of(IpAddress::v4(address), IpPrefix::kV4Bits + bits); }

struct Number {
  uint32_t number = 0;
  uint8_t used_bits = 0;
};

}  // namespace

TEST_CASE("access: a mapped address of IPv6 is the one of IPv4") {
  const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 7};
  CHECK(IpAddress::v6(mapped) == IpAddress::v4(ip(192, 0, 2, 7)));
  CHECK(IpAddress::v6(mapped).is_v4());
  const uint8_t real[16] = {0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 7};
  CHECK_FALSE(IpAddress::v6(real).is_v4());
  CHECK(IpAddress::v6(real).high == 0x20010DB800000000ull);
}

TEST_CASE("access: a prefix of every length has its first and last address in it, and their neighbours not") {
  const IpAddress address{0x20010DB8A5A5A5A5ull, 0x5A5A5A5A5A5A5A5Aull};
  for (uint32_t bits = 0; bits <= 128; ++bits) {
    CAPTURE(bits);
    const IpPrefix prefix = IpPrefix::of(address, bits);
    CHECK(prefix.contains(address));
    CHECK(prefix.contains(prefix.address));
    CHECK(prefix.contains(prefix.last()));
    if (bits == 0) continue;
    IpAddress other = address;
    (bits <= 64 ? other.high : other.low) ^= uint64_t{1} << ((128 - bits) % 64);
    CHECK_FALSE(prefix.contains(other));
  }
  CHECK(IpPrefix::of(address, 1000).bits == 128);
}

TEST_CASE("access: a set contains what one of its prefixes contains") {
  RandomNumbers random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<IpPrefix> prefixes;
    const size_t count = random() % 30;
    for (size_t i = 0; i < count; ++i) prefixes.push_back(v4(random() & 0xFF00FFFF, random() % 33));
    const PrefixSet set(prefixes);
    CHECK(set.ranges() <= count);
    for (int i = 0; i < 300; ++i) {
      // Near an edge, mostly.
      uint32_t address = random() & 0xFF00FFFF;
      if (count != 0 && i % 3 != 0) {
        const IpPrefix& one = prefixes[random() % count];
        address = static_cast<uint32_t>(i % 2 == 0 ? one.address.low : one.last().low) + random() % 3 - 1;
      }
      const IpAddress asked = IpAddress::v4(address);
      bool expected = false;
      for (const IpPrefix& prefix : prefixes) expected = expected || prefix.contains(asked);
      REQUIRE(set.contains(asked) == expected);
    }
  }
}

TEST_CASE("access: prefixes that touch are one range, up to the last address there is") {
  CHECK(PrefixSet({v4(ip(10, 0, 0, 0), 9), v4(ip(10, 128, 0, 0), 9)}).ranges() == 1);
  CHECK(PrefixSet({v4(ip(10, 0, 0, 0), 9), v4(ip(10, 128, 0, 0), 9), v4(ip(10, 3, 0, 0), 16)}).ranges() == 1);
  // All of IPv6, with IPv4 in the middle.
  CHECK(PrefixSet({IpPrefix::of({}, 1), IpPrefix::of({UINT64_MAX, 0}, 1)}).ranges() == 2);
  CHECK(PrefixSet({IpPrefix::of({}, 0), v4(0, 0)}).ranges() == 1);
  const PrefixSet last({IpPrefix::of({UINT64_MAX, UINT64_MAX}), IpPrefix::of({UINT64_MAX, UINT64_MAX})});
  CHECK(last.ranges() == 1);
  CHECK(last.contains({UINT64_MAX, UINT64_MAX}));
  CHECK_FALSE(last.contains({0, 0}));
  CHECK_FALSE(PrefixSet().contains({0, 0}));
}

TEST_CASE("access: a map has what a std::map has, whatever comes and goes") {
  RandomNumbers random(11);
  PrefixMap<Number> map;
  std::map<std::tuple<uint64_t, uint64_t, uint32_t>, uint32_t> model;
  for (uint32_t round = 0; round < 200000; ++round) {
    // Few keys, so that most of them come and go; the wish for a full array changes with time.
    const IpPrefix key = IpPrefix::of({random() % 3, random() % 500}, 120 + random() % 9);
    const auto name = std::make_tuple(key.address.high, key.address.low, key.bits);
    const bool grows = round / 5000 % 2 == 0;
    if (random() % 10 < (grows ? 7u : 3u)) {
      map.insert(key).number = round;
      model[name] = round;
    } else {
      REQUIRE(map.erase(key) == (model.erase(name) == 1));
    }
    REQUIRE(map.size() == model.size());
    const Number* found = map.find(key);
    const auto expected = model.find(name);
    REQUIRE((found == nullptr) == (expected == model.end()));
    if (found != nullptr) REQUIRE(found->number == expected->second);
    if (round % 10000 != 0) continue;
    size_t seen = 0;
    for (size_t part = 0; part < map.kParts; ++part) {
      map.for_each_in(part, [&](const PrefixMap<Number>::Entry& entry) {
        ++seen;
        REQUIRE(model.at({entry.address.high, entry.address.low, entry.prefix().bits}) == entry.value.number);
      });
    }
    REQUIRE(seen == model.size());
  }
}

TEST_CASE("access: a sweep visits every place within a round, and takes what may go") {
  PrefixMap<Number> map;
  for (uint32_t i = 0; i < 10000; ++i) map.insert(IpPrefix::of({0, i})).number = i;
  size_t erased = 0;
  // What moves up across the end of the array may be seen in the next round only.
  for (size_t looked = 0; looked < 2 * map.capacity(); looked += 100) {
    erased += map.sweep(100, [](const PrefixMap<Number>::Entry& entry) { return entry.value.number % 2 == 0; });
  }
  CHECK(erased == 5000);
  CHECK(map.size() == 5000);
  for (uint32_t i = 0; i < 10000; ++i) REQUIRE((map.find(IpPrefix::of({0, i})) != nullptr) == (i % 2 == 1));
}

namespace {

// Counts how often entries are moved.
struct Moved {
  uint8_t used_bits = 0;
  static size_t moves;
  Moved() = default;
  Moved(const Moved&) = default;
  Moved& operator=(const Moved&) = default;
  Moved& operator=(Moved&& other) noexcept {
    used_bits = other.used_bits;
    ++moves;
    return *this;
  }
};
size_t Moved::moves = 0;

}  // namespace

TEST_CASE("access: a map of a million entries never copies more than a hundredth of them at a time") {
  PrefixMap<Moved> map;
  RandomNumbers random(17);
  size_t most = 0;
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    Moved::moves = 0;
    map.insert(IpPrefix::of({random.wide(), random.wide()}));
    most = Moved::moves > most ? Moved::moves : most;
  }
  CHECK(map.size() == 1'000'000);
  CHECK(most > 1000);  // it is counted
  CHECK(most < 10'000);
}

TEST_CASE("access: after a peak a map becomes smaller, by whatever way its entries go") {
  const auto name = [](uint32_t i) { return IpPrefix::of(IpAddress::v4(i)); };
  for (const bool swept : {false, true}) {
    PrefixMap<Number> map;
    for (uint32_t i = 0; i < 100'000; ++i) map.insert(name(i)).number = i;
    const size_t peak = map.capacity();
    if (swept) {
      map.sweep(2 * map.capacity(), [](const PrefixMap<Number>::Entry& entry) { return entry.value.number >= 100; });
      map.sweep(map.capacity(), [](const PrefixMap<Number>::Entry&) { return false; });
    } else {
      for (uint32_t i = 100; i < 100'000; ++i) CHECK(map.erase(name(i)));
    }
    CHECK(map.size() == 100);
    CHECK(map.capacity() < peak / 8);
    for (uint32_t i = 0; i < 100; ++i) {
      REQUIRE(map.find(name(i)) != nullptr);
      CHECK(map.find(name(i))->number == i);
    }
  }
}

TEST_CASE("access: whatever changes while a map is listed part by part, who stays is listed once") {
  RandomNumbers random(19);
  PrefixMap<Number> map;
  for (uint32_t i = 0; i < 2000; ++i) map.insert(IpPrefix::of({0, i})).number = 0;
  for (size_t part = 0; part < map.kParts; ++part) {
    map.for_each_in(part, [](const PrefixMap<Number>::Entry& entry) {
      // The listed ones are marked; a value may be changed where it stands.
      ++const_cast<Number&>(entry.value).number;
    });
    for (uint32_t i = 0; i < 50; ++i) map.insert(IpPrefix::of({1, random.wide()}));
    for (uint32_t i = 0; i < 50; ++i) map.erase(IpPrefix::of({1, random.wide()}));
    map.sweep(100, [&](const PrefixMap<Number>::Entry& entry) { return entry.address.high == 1 && random() % 2 == 0; });
  }
  for (uint32_t i = 0; i < 2000; ++i) REQUIRE(map.find(IpPrefix::of({0, i}))->number == 1);
}
