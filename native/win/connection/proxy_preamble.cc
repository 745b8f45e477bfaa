#include "win/connection/proxy_preamble.h"

#include <cstring>

#include "win/connection/connection.h"

namespace iocp {
namespace {

void append(const Address& address, std::vector<uint8_t>* out) {
  uint8_t blob[Address::kMaxBlob];
  out->insert(out->end(), blob, blob + address.write_blob(blob));
}

ProxyEndpoint endpoint_of(const Address& address, bool as_v6) {
  ProxyEndpoint endpoint;
  endpoint.port = address.port();
  uint8_t blob[Address::kMaxBlob];
  address.write_blob(blob);
  constexpr size_t kFront = 3;  // family and port
  if (address.family() == AF_INET6) {
    std::memcpy(endpoint.address, blob + kFront, 16);
  } else if (as_v6) {
    endpoint.address[10] = endpoint.address[11] = 0xFF;
    std::memcpy(endpoint.address + 12, blob + kFront, 4);
  } else {
    std::memcpy(endpoint.address, blob + kFront, 4);
  }
  return endpoint;
}

}  // namespace

Address address_of(const ProxyEndpoint& endpoint, ProxyFamily family) {
  if (family == ProxyFamily::inet) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.address, 4);
    return Address::from(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4));
  }
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(endpoint.port);
  std::memcpy(&v6.sin6_addr, endpoint.address, 16);
  return Address::from(reinterpret_cast<const sockaddr*>(&v6), sizeof(v6)).unmapped();
}

void set_endpoints(const Address& source, const Address& destination, ProxyHeader* header) {
  const bool is_v6 = source.family() == AF_INET6 || destination.family() == AF_INET6;
  header->family = is_v6 ? ProxyFamily::inet6 : ProxyFamily::inet;
  header->transport = ProxyTransport::stream;
  header->source = endpoint_of(source, is_v6);
  header->destination = endpoint_of(destination, is_v6);
}

Preamble::Step ProxyPreamble::take(const uint8_t* data, size_t size, size_t* used) {
  switch (decoder_.take(data, size, used)) {
    case ProxyDecoder::Step::more:
      return Step::more;
    case ProxyDecoder::Step::done:
      return Step::done;
    case ProxyDecoder::Step::failed:
      break;
  }
  errors_[static_cast<size_t>(decoder_.error())].fetch_add(1, std::memory_order_relaxed);
  return Step::failed;
}

bool ProxyPreamble::finish(Connection* connection) {
  const ProxyHeader& header = decoder_.header();
  append(connection->remote(), &details_);
  for (const uint8_t byte : {header.version, static_cast<uint8_t>(header.command), static_cast<uint8_t>(header.family),
                             static_cast<uint8_t>(header.transport)}) {
    details_.push_back(byte);
  }
  if (header.has_endpoints()) {
    append(address_of(header.source, header.family), &details_);
    append(address_of(header.destination, header.family), &details_);
  }
  details_.insert(details_.end(), header.tlvs.begin(), header.tlvs.end());
  if (!header.names_client()) return false;
  connection->set_remote(address_of(header.source, header.family));
  return true;
}

}  // namespace iocp
