// What it costs to decide who may connect: nanoseconds of enter() and leave(), with a million bans, rules of all kinds,
// and peers that are chosen at random. One line of JSON.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "core/access/access_table.h"

namespace {

using namespace iocp;
using Clock = std::chrono::steady_clock;

constexpr uint32_t kRounds = 1'000'000;
constexpr uint32_t kBans = 1'000'000;
constexpr uint32_t kPrefixes = 1000;

uint64_t next(uint64_t* state) {  // splitmix64
  uint64_t value = (*state += 0x9E3779B97F4A7C15u);
  value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
  value = (value ^ value >> 27) * 0x94D049BB133111EBu;
  return value ^ value >> 31;
}

IpAddress somebody(uint64_t random, bool v6) {
  return v6 ? IpAddress{0x2001'0DB8'0000'0000u | (random >> 40), random} : IpAddress::v4(static_cast<uint32_t>(random));
}

double nanoseconds(AccessTable& table, bool v6, bool banned) {
  std::vector<double> times;
  uint64_t state = 7;
  uint64_t now = 1'000'000;
  for (int round = 0; round < 9; ++round) {
    uint64_t let_in = 0;
    uint64_t ban_state = 1;
    const auto began = Clock::now();
    for (uint32_t i = 0; i < kRounds; ++i) {
      if (banned && i % kBans == 0) ban_state = 1;
      const IpAddress address = banned ? somebody(next(&ban_state), false) : somebody(next(&state), v6);
      AccessEntry entry;
      if (table.enter(address, now + i / 1000, true, &entry) != Refusal::none) continue;
      ++let_in;
      table.leave(entry);
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - began;
    times.push_back(took.count() / kRounds);
    now += kRounds / 1000 + 10'000;
    if (banned && let_in != 0) std::fprintf(stderr, "%llu were let in\n", static_cast<unsigned long long>(let_in));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main() {
  AccessRules rules;
  uint64_t state = 42;
  std::vector<IpPrefix> list;
  for (uint32_t i = 0; i < kPrefixes; ++i) list.push_back(IpPrefix::of(somebody(next(&state), i % 2 == 0), 112));
  rules.deny = PrefixSet(list);
  rules.max_per_address = 50;
  rules.max_per_subnet = 500;
  rules.rate_count = 10;
  rules.rate_burst = 50;
  rules.table_size = kBans;
  rules.ban_on[static_cast<size_t>(Offence::connect_rate)] = {5, 60'000};
  AccessTable table(std::make_shared<const AccessRules>(rules));
  AccessTable empty(std::make_shared<const AccessRules>());
  uint64_t ban_state = 1;
  for (uint32_t i = 0; i < kBans; ++i) {
    table.bans().ban(IpPrefix::of(somebody(next(&ban_state), false)), 1, BanList::kForEver, 300);
  }
  std::printf(
      "{\"noRules\":%.0f,\"v4\":%.0f,\"v6\":%.0f,\"banned\":%.0f,\"bytesEach\":%.1f}\n",
      nanoseconds(empty, false, false), nanoseconds(table, false, false), nanoseconds(table, true, false),
      nanoseconds(table, false, true),
      static_cast<double>(table.totals().bytes) / static_cast<double>(table.totals().bans + table.totals().rates));
  return 0;
}
