#pragma once
// Writes headers of the PROXY protocol.
#include <cstdint>
#include <vector>

#include "core/proxy_protocol/proxy_header.h"

namespace iocp {

// The bytes of a header of either version; empty when it cannot be written: version 1 has no TLVs (LOCAL is
// UNKNOWN there) and knows TCP over IPv4 and IPv6 only; of AF_UNIX nothing is written at all, and version 2 has 65,535
// bytes behind its first sixteen. The TLVs of the header are whole ones and none of them a checksum; `checksum` adds
// one.
std::vector<uint8_t> encode_proxy_header(const ProxyHeader& header, bool checksum);

}  // namespace iocp
