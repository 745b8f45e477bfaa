#pragma once
// The header of the PROXY protocol in front of what a balancer passes on: who the client is.
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/access/prefix_set.h"
#include "core/proxy_protocol/proxy_decoder.h"
#include "win/connection/preamble.h"
#include "win/sys/address.h"

namespace iocp {

// What a listener expects of its balancers.
struct ProxyRules {
  PrefixSet from;  // the balancers: a header has to come from these, and none is looked for from others
  ProxyDecoder::Rules decoder;
  bool direct = true;  // others may connect too
  uint32_t timeout_ms = 5000;
};

class ProxyPreamble final : public Preamble {
 public:
  // One for each ProxyError; any thread counts and reads.
  using ErrorCounts = std::atomic<uint64_t>[kProxyErrorCount];

  // `errors` outlives it.
  ProxyPreamble(const ProxyRules& rules, ErrorCounts* errors)
      : Preamble(rules.timeout_ms, Refusal::proxy_timeout), decoder_(rules.decoder), errors_(*errors) {}

  Step take(const uint8_t* data, size_t size, size_t* used) override;
  // The connection has the client's address, if there is one; the balancer's own connections, its health checks, keep
  // theirs, and come in.
  bool finish(Connection* connection) override;
  // [the balancer's address][version][command][family][transport], with endpoints those, and the TLVs.
  const std::vector<uint8_t>& details() const override { return details_; }
  Refusal failure() const override { return Refusal::proxy_header; }

 private:
  ProxyDecoder decoder_;
  ErrorCounts& errors_;
  std::vector<uint8_t> details_;
};

// The endpoint of a header as an address; IPv4 as IPv4, also where it was written as IPv6.
Address address_of(const ProxyEndpoint& endpoint, ProxyFamily family);
// Both of a connection that this side has made, for a header to be sent. One of IPv4 becomes one of IPv6 where the
// other one is.
void set_endpoints(const Address& source, const Address& destination, ProxyHeader* header);

}  // namespace iocp
