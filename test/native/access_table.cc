#include "core/access/access_table.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "random_numbers.h"

using namespace iocp;

namespace {

constexpr uint64_t kStart = 1'000'000;

IpAddress host(uint32_t number) { return IpAddress::v4(0x0A000000u + number); }
IpAddress host6(uint64_t subnet, uint64_t number) { return {0x20010DB800000000ull + subnet, number}; }

std::shared_ptr<const AccessRules> shared(AccessRules rules) {
  return std::make_shared<const AccessRules>(std::move(rules));
}

size_t in(const Refusal refusal) { return static_cast<size_t>(refusal); }

}  // namespace

TEST_CASE("access: allow comes first, then deny, bans, the total, the address, its subnet, the rate") {
  AccessRules rules;
  rules.allow = PrefixSet({IpPrefix::of(host(1))});
  rules.deny = PrefixSet({IpPrefix::of(host(0), 120)});
  rules.max_per_address = 1;
  rules.max_per_subnet = 2;
  rules.rate_count = 1;
  rules.rate_per_ms = 1000;
  AccessTable table(shared(rules));
  AccessEntry entry;
  CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart, false, &entry) == Refusal::max_connections);
  CHECK(table.enter(host(2), kStart, true, &entry) == Refusal::denied);
  table.bans().ban(IpPrefix::of(host(256)), kStart, 5000, 9);
  CHECK(table.enter(host(256), kStart, false, &entry) == Refusal::banned);
  CHECK(table.enter(host(257), kStart, false, &entry) == Refusal::max_connections);
  CHECK(table.enter(host(257), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(257), kStart, true, &entry) == Refusal::max_per_address);
  CHECK(table.enter(host(258), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(259), kStart, true, &entry) == Refusal::max_per_subnet);
  table.leave({host(257), 120});
  CHECK(table.enter(host(257), kStart, true, &entry) == Refusal::connect_rate);
  CHECK(table.enter(host(257), kStart + 1000, true, &entry) == Refusal::none);
  CHECK(table.totals().refused[in(Refusal::max_connections)] == 2);
  CHECK(table.totals().refused[in(Refusal::connect_rate)] == 1);
}

TEST_CASE("access: who is refused for something else never has one of the places, and the limit always holds") {
  AccessRules rules;
  rules.deny = PrefixSet({IpPrefix::of(host(9))});
  rules.max_per_address = 2;
  AccessTable table(shared(rules));
  table.bans().ban(IpPrefix::of(host(8)), kStart, 5000, 9);
  Places places(3);
  AccessEntry entry;
  CHECK(table.enter(host(9), kStart, places, &entry) == Refusal::denied);
  CHECK(table.enter(host(8), kStart, places, &entry) == Refusal::banned);
  CHECK(places.taken() == 0);
  CHECK(table.enter(host(1), kStart, places, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart, places, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart, places, &entry) == Refusal::max_per_address);
  CHECK(places.taken() == 2);
  CHECK(table.enter(host(2), kStart, places, &entry) == Refusal::none);
  CHECK(table.enter(host(3), kStart, places, &entry) == Refusal::max_connections);
  CHECK(table.enter(host(1), kStart, places, &entry) == Refusal::max_connections);  // as the order of reasons says
  CHECK(table.enter(host(9), kStart, places, &entry) == Refusal::denied);
  CHECK(places.taken() == 3);
  CHECK(table.totals().connections == 3);
  table.leave({host(1), 120});
  places.give_back();
  CHECK(table.enter(host(3), kStart, places, &entry) == Refusal::none);
}

TEST_CASE("places stress: whoever looks while others are refused never finds their place taken") {
  AccessRules rules;
  rules.deny = PrefixSet({IpPrefix::of(host(9))});
  rules.max_per_address = 0;
  AccessTable table(shared(rules));
  Places places(1);
  std::atomic<bool> is_over{false};
  std::thread refuser([&] {
    AccessEntry entry;
    for (uint32_t i = 0; i < 300'000; ++i) (void)table.enter(host(8 + i % 2), kStart, places, &entry);
    is_over = true;
  });
  bool was_taken = false;
  while (!is_over) was_taken = was_taken || places.taken() != 0;
  refuser.join();
  CHECK_FALSE(was_taken);
}

TEST_CASE("places stress: no more are taken at a time than there are, and none is lost") {
  constexpr uint32_t kLimit = 3;
  Places places(kLimit);
  std::atomic<uint32_t> in_use{0};
  std::atomic<bool> too_many{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        if (!places.take()) continue;
        if (in_use.fetch_add(1) + 1 > kLimit) too_many = true;
        in_use.fetch_sub(1);
        places.give_back();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(too_many.load());
  CHECK(places.taken() == 0);
  CHECK(places.any_free());
}

TEST_CASE("access: test() says what enter() would, and counts nothing") {
  AccessRules rules;
  rules.max_per_address = 1;
  rules.rate_count = 1;
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (int i = 0; i < 5; ++i) CHECK(table.test(host(1), kStart, true) == Refusal::none);
  CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::none);
  CHECK(table.test(host(1), kStart, true) == Refusal::max_per_address);
  CHECK(table.totals().refused[in(Refusal::max_per_address)] == 0);
}

TEST_CASE("access: a rate lets a burst in, and then as many as time pays for") {
  AccessRules rules;
  rules.rate_count = 10;
  rules.rate_per_ms = 1000;
  rules.rate_burst = 5;
  AccessTable table(shared(rules));
  AccessEntry entry;
  uint32_t let_in = 0;
  for (int i = 0; i < 20; ++i) let_in += table.enter(host(1), kStart, true, &entry) == Refusal::none;
  CHECK(let_in == 5);
  // Ten seconds with a try each ten milliseconds.
  let_in = 0;
  for (uint64_t now = kStart + 1; now <= kStart + 10'000; now += 10) {
    let_in += table.enter(host(1), now, true, &entry) == Refusal::none;
  }
  CHECK(let_in >= 98);
  CHECK(let_in <= 101);
  // Another one is not concerned.
  CHECK(table.enter(host(2), kStart, true, &entry) == Refusal::none);
}

TEST_CASE("access: a subnet of IPv6 counts all its addresses, and is banned as a whole; IPv4 by the address") {
  AccessRules rules;
  rules.max_per_subnet = 3;
  rules.ban_on[static_cast<size_t>(Offence::protocol_error)] = {2, 1000};
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (uint64_t i = 0; i < 3; ++i) CHECK(table.enter(host6(1, i << 40), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host6(1, 77), kStart, true, &entry) == Refusal::max_per_subnet);
  CHECK(table.enter(host6(2, 77), kStart, true, &entry) == Refusal::none);
  CHECK_FALSE(table.offend(host6(3, 1), Offence::protocol_error, kStart));
  CHECK(table.offend(host6(3, 2), Offence::protocol_error, kStart));
  CHECK(table.test(host6(3, 3), kStart, true) == Refusal::banned);
  CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart));
  CHECK(table.offend(host(1), Offence::protocol_error, kStart));
  CHECK(table.test(host(1), kStart, true) == Refusal::banned);
  CHECK(table.test(host(2), kStart, true) == Refusal::none);
}

TEST_CASE("access: who comes from another address of a subnet of IPv6 each time has one rate all the same") {
  AccessRules rules;
  rules.rate_count = 10;
  rules.rate_per_ms = 1000;
  rules.rate_burst = 5;
  rules.ban_on[static_cast<size_t>(Offence::connect_rate)] = {3, 1000};
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (uint64_t i = 0; i < 5; ++i) {
    CHECK(table.enter(host6(1, i << 40), kStart, true, &entry) == Refusal::none);
    table.leave(entry);
  }
  for (uint64_t i = 5; i < 8; ++i) CHECK(table.enter(host6(1, i), kStart, true, &entry) == Refusal::connect_rate);
  CHECK(table.enter(host6(1, 8), kStart, true, &entry) == Refusal::banned);
  CHECK(table.enter(host6(2, 1), kStart, true, &entry) == Refusal::none);
  // Link-local addresses have their prefix in common, and each has a rate of its own.
  const uint64_t link_local = 0xFE80ull << 48;
  for (uint64_t i = 0; i < 50; ++i) CHECK(table.enter({link_local, i + 1}, kStart, true, &entry) == Refusal::none);
}

TEST_CASE("access: who may have come at any time is neither judged by the rate nor counted for it") {
  AccessRules rules;
  rules.rate_count = 1;
  rules.rate_burst = 2;
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (int i = 0; i < 10; ++i) CHECK(table.enter(host(1), kStart, true, &entry, false) == Refusal::none);
  for (int i = 0; i < 2; ++i) CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::connect_rate);
  CHECK(table.enter(host(1), kStart, true, &entry, false) == Refusal::none);
}

TEST_CASE("access: rates that are remembered have a bound, and those that are over go first") {
  AccessRules rules;
  rules.rate_count = 1;
  rules.rate_per_ms = 1000;
  rules.table_size = 1000;
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (uint32_t i = 0; i < 1000; ++i) CHECK(table.enter(host(i), kStart, true, &entry) == Refusal::none);
  CHECK(table.totals().rates == 1000);
  for (uint32_t i = 0; i < 1000; ++i) CHECK(table.enter(host(2000 + i), kStart + 1001, true, &entry) == Refusal::none);
  CHECK(table.totals().rates <= 1000);
  const uint64_t evictions = table.totals().evictions;
  for (uint32_t i = 0; i < 100; ++i) CHECK(table.enter(host(4000 + i), kStart + 1002, true, &entry) == Refusal::none);
  CHECK(table.totals().evictions > evictions);
  rules.table_size = 10;
  table.update(shared(rules));
  for (uint32_t i = 0; i < 2000; ++i) CHECK(table.enter(host(6000 + i), kStart + 1002, true, &entry) == Refusal::none);
  CHECK(table.totals().rates <= 10);
}

TEST_CASE("access: a million addresses with a rate take at most 64 bytes each") {
  AccessRules rules;
  rules.rate_count = 1;
  rules.table_size = 1'000'000;
  AccessTable table(shared(rules));
  AccessEntry entry;
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    REQUIRE(table.enter(host(i), kStart, true, &entry) == Refusal::none);
    table.leave(entry);
  }
  CHECK(table.totals().rates == 1'000'000);
  CHECK(table.totals().bytes <= 64'000'000);
}

TEST_CASE("access: offences count within their time, each kind for itself, and never of those who are allowed") {
  AccessRules rules;
  rules.allow = PrefixSet({IpPrefix::of(host(9))});
  rules.ban_on[static_cast<size_t>(Offence::protocol_error)] = {3, 1000};
  rules.ban_on[static_cast<size_t>(Offence::connect_rate)] = {3, 1000};
  AccessTable table(shared(rules));
  CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart));
  CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart + 900));
  CHECK_FALSE(table.offend(host(1), Offence::connect_rate, kStart + 900));
  CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart + 1001));  // the first two are too old
  CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart + 1002));
  CHECK(table.offend(host(1), Offence::protocol_error, kStart + 1003));
  for (int i = 0; i < 10; ++i) CHECK_FALSE(table.offend(host(9), Offence::protocol_error, kStart));
  rules.ban_on[static_cast<size_t>(Offence::connect_rate)] = {};
  table.update(shared(rules));
  for (int i = 0; i < 10; ++i) CHECK_FALSE(table.offend(host(2), Offence::connect_rate, kStart));
}

TEST_CASE("access: bans grow, end, are forgotten and can be lifted") {
  BanList bans;
  bans.set_policy({1000, 2, 10'000}, 100);
  const IpPrefix peer = IpPrefix::of(host(1));
  CHECK(bans.ban(peer, kStart, 0, 1) == kStart + 1000);
  CHECK(bans.find(host(1), kStart + 999) != nullptr);
  CHECK(bans.find(host(1), kStart + 1000) == nullptr);
  CHECK(bans.ban(peer, kStart + 2000, 0, 2) == kStart + 4000);
  CHECK(bans.ban(peer, kStart + 5000, 0, 3) == kStart + 9000);
  for (int i = 0; i < 300; ++i) CHECK(bans.ban(peer, kStart + 10'000, 0, 4) <= kStart + 20'000);
  CHECK(bans.find(host(1), kStart + 19'999)->times == 255);
  // A shorter one does not shorten it.
  CHECK(bans.ban(peer, kStart + 10'000, 1, 5) == kStart + 20'000);
  CHECK(bans.find(host(1), kStart + 10'000)->reason == 4);
  CHECK(bans.ban(peer, kStart + 30'000, 0, 6) == kStart + 31'000);  // long enough ago
  CHECK(bans.lift(peer, kStart + 30'000));
  CHECK_FALSE(bans.lift(peer, kStart + 30'000));
  CHECK(bans.find(host(1), kStart + 30'000) == nullptr);
  CHECK(bans.ban(peer, kStart, BanList::kForEver, 7) == BanList::kForEver);
  CHECK(bans.find(host(1), UINT64_MAX - 1) != nullptr);
  bans.sweep(UINT64_MAX - 1, 1000);
  CHECK(bans.size() == 1);
}

TEST_CASE("access: a ban that was kept is as it was: how it came, how often, and how long it holds") {
  BanList bans;
  bans.set_policy({1000, 2, 100'000}, 100);
  const IpPrefix peer = IpPrefix::of(host(1));
  BanList::Ban kept;
  kept.until_ms = kStart + 5000;
  kept.reason = 7;
  kept.times = 3;
  kept.automatic = true;
  for (int i = 0; i < 3; ++i) bans.restore(peer, kStart, kept);  // again is as once
  REQUIRE(bans.find(host(1), kStart + 4999) != nullptr);
  CHECK(bans.find(host(1), kStart)->times == 3);
  CHECK(bans.find(host(1), kStart)->automatic);
  CHECK(bans.find(host(1), kStart)->reason == 7);
  CHECK(bans.ban(peer, kStart + 5000, 0, 8) == kStart + 5000 + 8000);  // the fourth
  // What is there and longer stays.
  bans.restore(peer, kStart + 5000, kept);
  CHECK(bans.find(host(1), kStart + 12'999)->times == 4);
  CHECK(bans.find(host(1), kStart + 12'999)->reason == 8);
  CHECK_FALSE(bans.find(host(1), kStart + 12'999)->automatic);
  // One that is over holds no more, but is remembered; one that is over for long is not.
  kept.until_ms = kStart - 1;
  bans.restore(IpPrefix::of(host(2)), kStart, kept);
  CHECK(bans.find(host(2), kStart) == nullptr);
  CHECK(bans.ban(IpPrefix::of(host(2)), kStart, 0, 8) == kStart + 8000);
  kept.until_ms = kStart - 100'000;
  bans.restore(IpPrefix::of(host(3)), kStart, kept);
  CHECK(bans.size() == 2);
  kept.until_ms = BanList::kForEver;
  bans.restore(IpPrefix::of(host(4)), kStart, kept);
  CHECK(bans.find(host(4), UINT64_MAX - 1) != nullptr);
  // An automatic one does not take the place of those that were wanted, a kept one neither.
  bans.set_policy({1000, 2, 100'000}, 1);
  bans.lift(IpPrefix::of(host(4)), kStart);
  kept.until_ms = kStart + 5000;
  bans.restore(IpPrefix::of(host(5)), kStart, kept);
  CHECK(bans.find(host(5), kStart) == nullptr);
}

TEST_CASE("access: the longest banned prefix counts, and each length is looked for") {
  BanList bans;
  bans.set_policy({}, 100);
  bans.ban(IpPrefix::of(host(0), 96 + 8), kStart, 5000, 8);
  bans.ban(IpPrefix::of(host(0), 96 + 24), kStart, 1000, 24);
  CHECK(bans.find(host(5), kStart)->reason == 24);
  CHECK(bans.find(host(300), kStart)->reason == 8);
  CHECK(bans.find(host(5), kStart + 1000)->reason == 8);
  CHECK(bans.find(IpAddress::v4(0x0B000000), kStart) == nullptr);
  size_t seen = 0;
  size_t remembered = 0;
  for (size_t part = 0; part < BanList::kParts; ++part) {
    bans.for_each_in(part, kStart + 1000, [&](const IpPrefix& prefix, const BanList::Ban& ban) {
      if (ban.until_ms <= kStart + 1000) {
        ++remembered;
        CHECK(prefix.bits == 120);
        return;
      }
      ++seen;
      CHECK(prefix.bits == 104);
      CHECK(ban.reason == 8);
    });
  }
  CHECK(seen == 1);
  CHECK(remembered == 1);
}

TEST_CASE("access: a full table of bans lets those go that are over, then others, and counts these") {
  BanList bans;
  bans.set_policy({1000, 1, 0}, 100);
  for (uint32_t i = 0; i < 100; ++i) bans.ban(IpPrefix::of(host(i)), kStart, i < 50 ? 10 : 100'000, 1);
  for (uint32_t i = 0; i < 50; ++i) bans.ban(IpPrefix::of(host(1000 + i)), kStart + 20, 100'000, 1);
  CHECK(bans.size() == 100);
  CHECK(bans.evictions() <= 25);  // only where none that is over stands near
  for (uint32_t i = 0; i < 500; ++i) bans.ban(IpPrefix::of(host(2000 + i)), kStart + 30, 100'000, 1);
  CHECK(bans.size() == 100);
  CHECK(bans.evictions() >= 475);
  size_t hold = 0;
  for (uint32_t i = 0; i < 3000; ++i) hold += bans.find(host(i), kStart + 30) != nullptr ? 1 : 0;
  CHECK(hold == 100);
}

TEST_CASE("access: 100,000 random rounds of entering, refusing, leaving, new rules and bans leave every count at 0") {
  RandomNumbers random(3);
  AccessRules rules;
  rules.table_size = 1000;
  AccessTable table(shared(rules));
  std::vector<AccessEntry> open;
  std::map<uint64_t, uint32_t> per_host;
  uint64_t now = kStart;
  for (uint32_t round = 0; round < 100'000; ++round) {
    now += random() % 20;
    const uint32_t what = random() % 100;
    if (what == 0) {
      AccessRules next;
      next.table_size = 1000;
      next.max_per_address = 1 + random() % 4;
      next.max_per_subnet = 5 + random() % 40;
      next.v4_subnet_bits = 20 + random() % 12;
      next.rate_count = random() % 3;
      next.ban_on[static_cast<size_t>(Offence::connect_rate)] = {random() % 4, 1000};
      next.ban = {1 + random() % 500, 2, 1000};
      if (random() % 2 == 0) next.allow = PrefixSet({IpPrefix::of(host(random() % 4000), 118)});
      if (random() % 2 == 0) next.deny = PrefixSet({IpPrefix::of(host(random() % 4000), 120)});
      rules = next;
      table.update(shared(next));
    } else if (what < 5) {
      table.sweep(now);
    } else if (what < 8) {
      table.bans().ban(IpPrefix::of(host(random() % 4000), 120 + random() % 9), now, 1 + random() % 500, 1);
    } else if (what < 60 || open.empty()) {
      const IpAddress address = host(random() % 4000);
      const bool has_room = open.size() < 800;
      const Refusal expected = table.test(address, now, has_room);
      AccessEntry entry;
      const Refusal refusal = table.enter(address, now, has_room, &entry);
      REQUIRE(refusal == expected);
      if (refusal == Refusal::none) {
        open.push_back(entry);
        if (entry.subnet_bits == AccessEntry::kAllowed) continue;
        ++per_host[address.low];
        REQUIRE(per_host[address.low] <= rules.max_per_address);
      } else if (refusal == Refusal::max_per_address) {
        REQUIRE(per_host[address.low] >= rules.max_per_address);
      }
    } else {
      const size_t at = random() % open.size();
      table.leave(open[at]);
      if (open[at].subnet_bits != AccessEntry::kAllowed) --per_host[open[at].address.low];
      open[at] = open.back();
      open.pop_back();
    }
    REQUIRE(table.totals().connections == open.size());
  }
  for (const AccessEntry& entry : open) table.leave(entry);
  CHECK(table.totals().connections == 0);
  CHECK(table.totals().subnets == 0);
  now += 1'000'000;
  for (int i = 0; i < 20; ++i) table.sweep(now);
  CHECK(table.totals().addresses == 0);
  CHECK(table.totals().rates == 0);
  CHECK(table.totals().bans == 0);
}

TEST_CASE("access: a million banned addresses take at most 64 bytes each, while the table grows, too") {
  BanList bans;
  bans.set_policy({}, 1'000'000);
  RandomNumbers random(5);
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    bans.ban(IpPrefix::of({random.wide(), random.wide()}), kStart, 0, 1);
    if (i > 1000 && i % 1000 == 0) REQUIRE(bans.bytes() <= 64 * bans.size());
  }
  CHECK(bans.size() == 1'000'000);
  CHECK(bans.bytes() <= 64 * bans.size());
}

TEST_CASE("access: a prefix of IPv6 has no address of IPv4 in it, whatever is written down for both") {
  const IpAddress loopback{0, 1};
  CHECK_FALSE(PrefixSet({IpPrefix::of({}, 0)}).contains(host(1)));
  CHECK(PrefixSet({IpPrefix::of({}, 0)}).contains(loopback));
  CHECK(PrefixSet({IpPrefix::of({}, 0)}).contains({0, 0x1000000000000}));
  CHECK(PrefixSet({IpPrefix::of(host(0), 96)}).contains(host(77)));
  AccessRules rules;
  rules.ban_on[static_cast<size_t>(Offence::protocol_error)] = {1, 1000};
  AccessTable table(shared(rules));
  for (uint32_t bits : {0u, 64u, 80u, 95u}) {
    table.bans().ban(IpPrefix::of(host(0), bits), kStart, 1000, 9);
    CHECK(table.test(loopback, kStart, true) == (bits <= 80 ? Refusal::banned : Refusal::none));
    CHECK(table.test(host(1), kStart, true) == Refusal::none);
    CHECK(table.bans().lift(IpPrefix::of(host(0), bits), kStart));
  }
  CHECK(table.offend(loopback, Offence::protocol_error, kStart));
  CHECK(table.test(loopback, kStart, true) == Refusal::banned);
  CHECK(table.test(host(1), kStart, true) == Refusal::none);
  CHECK(table.test({0, 2}, kStart, true) == Refusal::none);
  CHECK(table.offend({0xFE80ull << 48, 5}, Offence::protocol_error, kStart));
  CHECK(table.test({0xFE80ull << 48, 6}, kStart, true) == Refusal::none);
}

TEST_CASE("access: what was open when a peer was banned does not make its ban longer") {
  AccessRules rules;
  rules.ban_on[static_cast<size_t>(Offence::protocol_error)] = {1, 1000};
  rules.ban = {1000, 2, 100'000};
  AccessTable table(shared(rules));
  CHECK(table.offend(host(1), Offence::protocol_error, kStart));
  for (int i = 0; i < 20; ++i) CHECK_FALSE(table.offend(host(1), Offence::protocol_error, kStart));
  CHECK(table.test(host(1), kStart + 1000, true) == Refusal::none);
  CHECK(table.offend(host(1), Offence::protocol_error, kStart + 1000));
  CHECK(table.test(host(1), kStart + 2999, true) == Refusal::banned);
}

TEST_CASE("access: another rate does not have the debts of the one before, and who is allowed has none") {
  AccessRules rules;
  rules.rate_count = 1;
  rules.rate_per_ms = 86'400'000;
  AccessTable table(shared(rules));
  AccessEntry entry;
  CHECK(table.enter(host(1), kStart, true, &entry) == Refusal::none);
  CHECK(table.enter(host(1), kStart + 1000, true, &entry) == Refusal::connect_rate);
  rules.rate_count = 100;
  rules.rate_per_ms = 1000;
  rules.rate_burst = 100;
  table.update(shared(rules));
  CHECK(table.enter(host(1), kStart + 1000, true, &entry) == Refusal::none);

  rules.allow = PrefixSet({IpPrefix::of(host(2))});
  rules.max_per_subnet = 2;
  table.update(shared(rules));
  for (int i = 0; i < 1000; ++i) CHECK(table.enter(host(2), kStart + 1000, true, &entry) == Refusal::none);
  rules.allow = PrefixSet();
  table.update(shared(rules));
  CHECK(table.enter(host(2), kStart + 1000, true, &entry) == Refusal::max_per_subnet);
  rules.max_per_subnet = AccessRules::kNoLimit;
  table.update(shared(rules));
  CHECK(table.enter(host(2), kStart + 1000, true, &entry) == Refusal::none);
}

TEST_CASE("access: automatic bans never take the place of those that were wanted") {
  BanList bans;
  bans.set_policy({1000, 1, 0}, 100);
  for (uint32_t i = 0; i < 50; ++i) bans.ban(IpPrefix::of(host(i)), kStart, BanList::kForEver, 300);
  for (uint32_t i = 0; i < 10'000; ++i) bans.ban(IpPrefix::of(host(1000 + i)), kStart, 100'000, 0, true);
  CHECK(bans.size() <= 100);
  for (uint32_t i = 0; i < 50; ++i) CHECK(bans.find(host(i), kStart) != nullptr);
  for (uint32_t i = 50; i < 100; ++i) bans.ban(IpPrefix::of(host(i)), kStart, BanList::kForEver, 300);
  CHECK(bans.size() <= 100);
  const uint64_t evictions = bans.evictions();
  CHECK(bans.ban(IpPrefix::of(host(5000)), kStart, 1000, 0, true) == kStart);
  CHECK(bans.evictions() == evictions + 1);
}

TEST_CASE("access: a full table of wanted bans takes each further one without going through all of it") {
  BanList bans;
  bans.set_policy({1000, 1, 0}, 100'000);
  for (uint32_t i = 0; i < 100'000; ++i) bans.ban(IpPrefix::of(host(i)), kStart, BanList::kForEver, 300);
  // With each going through the table these would be 10^10 places, which is minutes.
  for (uint32_t i = 0; i < 100'000; ++i) bans.ban(IpPrefix::of(host(200'000 + i)), kStart, BanList::kForEver, 300);
  CHECK(bans.size() <= 100'000);
  // Whatever there was, automatic ones are found again.
  for (uint32_t i = 0; bans.size() > 99'500; ++i) bans.lift(IpPrefix::of(host(200'000 + i)), kStart);
  for (uint32_t i = 0; i < 500; ++i) bans.ban(IpPrefix::of(host(500'000 + i)), kStart, BanList::kForEver, 0, true);
  const uint64_t evictions = bans.evictions();
  for (uint32_t i = 0; i < 500; ++i) bans.ban(IpPrefix::of(host(600'000 + i)), kStart, BanList::kForEver, 300);
  CHECK(bans.evictions() == evictions + 500);
  for (uint32_t i = 0; i < 500; ++i) CHECK(bans.find(host(500'000 + i), kStart) == nullptr);
}

TEST_CASE("access: a ban that is wanted makes an automatic one a wanted one, however long each is") {
  BanList bans;
  bans.ban(IpPrefix::of(host(1)), kStart, 9000, 0, true);
  CHECK(bans.ban(IpPrefix::of(host(1)), kStart, 5000, 300) == kStart + 9000);
  const BanList::Ban* ban = bans.find(host(1), kStart);
  REQUIRE(ban != nullptr);
  CHECK(ban->reason == 300);
  CHECK_FALSE(ban->automatic);
  // The other way it stays what it was.
  bans.ban(IpPrefix::of(host(1)), kStart, 5000, 0, true);
  CHECK_FALSE(bans.find(host(1), kStart)->automatic);
}

TEST_CASE("access: a table that may be smaller from now on gets there") {
  BanList bans;
  bans.set_policy({}, 10'000);
  for (uint32_t i = 0; i < 10'000; ++i) bans.ban(IpPrefix::of(host(i)), kStart, 100'000, 0, true);
  bans.set_policy({}, 1000);
  for (uint32_t i = 0; i < 10'000; ++i) bans.ban(IpPrefix::of(host(20'000 + i)), kStart, 100'000, 0, true);
  CHECK(bans.size() <= 1000);
}

TEST_CASE("access: who is refused by somebody else is counted by the reason") {
  AccessTable table(std::make_shared<AccessRules>());
  table.count_refused(Refusal::proxy_header);
  table.count_refused(Refusal::proxy_timeout);
  table.count_refused(Refusal::proxy_timeout);
  const AccessTable::Totals totals = table.totals();
  CHECK(totals.refused[static_cast<size_t>(Refusal::proxy_header)] == 1);
  CHECK(totals.refused[static_cast<size_t>(Refusal::proxy_timeout)] == 2);
  CHECK(totals.connections == 0);
}
