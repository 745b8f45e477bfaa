#pragma once
// What a server lets in. The numbers are checked by whoever makes them; limits that are not set are never reached.
#include <cstddef>
#include <cstdint>

#include "core/access/prefix_set.h"

namespace iocp {

// Why a peer is not let in, in the order in which it is looked at. X(enumerator, number)
#define IOCP_REFUSALS(X)                                                                   \
  X(denied, 0)                                                                             \
  X(banned, 1)                                                                             \
  X(max_connections, 2) /* asked by the caller, who knows */                               \
  X(max_per_address, 3)                                                                    \
  X(max_per_subnet, 4)                                                                     \
  X(connect_rate, 5)                                                                       \
  X(proxy_header, 6)  /* of a balancer: what it sent is no header of the PROXY protocol */ \
  X(proxy_timeout, 7) /* ... or did not come in time */

// What a peer can be banned for.
#define IOCP_OFFENCES(X)     \
  X(protocol_error, 0)       \
  X(connect_rate, 1)         \
  X(first_packet_timeout, 2) \
  X(rate_exceeded, 3)

#define IOCP_ENUMERATOR(name, number) name = number,
enum class Refusal : uint8_t { IOCP_REFUSALS(IOCP_ENUMERATOR) none };
enum class Offence : uint8_t { IOCP_OFFENCES(IOCP_ENUMERATOR) };
#undef IOCP_ENUMERATOR
#define IOCP_ONE(name, number) +1
constexpr size_t kRefusalCount = IOCP_REFUSALS(IOCP_ONE);
constexpr size_t kOffenceCount = IOCP_OFFENCES(IOCP_ONE);
#undef IOCP_ONE

// So many offences within that time are a ban. 0: never.
struct OffenceLimit {
  uint32_t count = 0;
  uint32_t within_ms = 0;
};

struct BanPolicy {
  uint64_t time_ms = 10 * 60 * 1000;
  double factor = 2;  // the next ban of the same peer is so many times as long, if it comes within `max_ms`
  uint64_t max_ms = 24ull * 60 * 60 * 1000;
};

struct AccessRules {
  static constexpr uint32_t kNoLimit = UINT32_MAX;

  PrefixSet allow;  // neither denied nor banned, nor counted
  PrefixSet deny;
  uint32_t max_per_address = kNoLimit;
  uint32_t max_per_subnet = kNoLimit;
  uint32_t v4_subnet_bits = 24;
  uint32_t v6_subnet_bits = 64;
  // New connections of an address: `rate_count` in `rate_per_ms`, and up to `rate_burst` at once. 0: no limit.
  uint32_t rate_count = 0;
  uint32_t rate_per_ms = 1000;
  uint32_t rate_burst = 1;
  OffenceLimit ban_on[kOffenceCount];
  BanPolicy ban;
  // Addresses without a connection of which something is remembered, and bans: so many of each.
  uint32_t table_size = 100'000;
  bool reset_refused = true;  // else they see an end
};

}  // namespace iocp
