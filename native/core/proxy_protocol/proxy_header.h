#pragma once
// What a header of the PROXY protocol says. Versions 1 and 2 as in HAProxy's specification, doc/proxy-protocol.txt; its
// sections are named where a rule comes from them.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace iocp {

// What is wrong with one. X(enumerator, number)
#define IOCP_PROXY_ERRORS(X)                                                                             \
  X(none, 0)                                                                                             \
  X(no_header, 1)           /* the first bytes are those of neither version */                           \
  X(version_not_allowed, 2) /* of a version that is not accepted here */                                 \
  X(line_too_long, 3)       /* version 1: no end of the line within 107 bytes */                         \
  X(bad_line_end, 4)        /* CR or LF alone */                                                         \
  X(bad_protocol, 5)        /* neither TCP4 nor TCP6 nor UNKNOWN, or not one space behind it */          \
  X(bad_address, 6)                                                                                      \
  X(bad_port, 7)                                                                                         \
  X(bad_version, 8) /* the signature of version 2, and then another version */                           \
  X(bad_command, 9)                                                                                      \
  X(bad_family, 10)    /* a family or transport that version 2 does not have */                          \
  X(too_large, 11)     /* more than the limit; nothing of it has been kept */                            \
  X(short_address, 12) /* fewer bytes than the addresses of its family */                                \
  X(bad_tlv, 13)       /* what is behind the addresses is not a list of TLVs, or one has a wrong size */ \
  X(bad_checksum, 14)

#define IOCP_ENUMERATOR(name, number) name = number,
enum class ProxyError : uint8_t { IOCP_PROXY_ERRORS(IOCP_ENUMERATOR) };
#undef IOCP_ENUMERATOR
#define IOCP_ONE(name, number) +1
constexpr size_t kProxyErrorCount = IOCP_PROXY_ERRORS(IOCP_ONE);
#undef IOCP_ONE

// The numbers of version 2 (2.2).
enum class ProxyCommand : uint8_t { local = 0, proxy = 1 };
enum class ProxyFamily : uint8_t { unspecified = 0, inet = 1, inet6 = 2, unix_socket = 3 };
enum class ProxyTransport : uint8_t { unspecified = 0, stream = 1, datagram = 2 };

namespace proxy_tlv {
constexpr uint8_t kChecksum = 0x03;
constexpr uint8_t kUniqueId = 0x05;
constexpr size_t kHeader = 3;  // type, and the size of the value in two bytes
constexpr size_t kChecksumSize = 4;
constexpr size_t kMaxUniqueId = 128;  // (2.2.5)
}  // namespace proxy_tlv

constexpr uint8_t kProxySignature[12] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};
constexpr size_t kProxyFixed = 16;     // of version 2, before the addresses
constexpr size_t kProxyMaxLine = 107;  // of version 1, CR and LF included (2.1)
constexpr uint32_t kProxyMinLimit =
    536;  // what fits into the smallest segment (2): a lower limit refuses valid headers
constexpr uint32_t kProxyMaxSize = 16 + 65535;

struct ProxyEndpoint {
  uint8_t address[16] = {};  // of IPv4 the first four bytes
  uint16_t port = 0;
};

// One header. Version 1's UNKNOWN is the command LOCAL.
struct ProxyHeader {
  uint8_t version = 0;
  ProxyCommand command = ProxyCommand::local;
  ProxyFamily family = ProxyFamily::unspecified;
  ProxyTransport transport = ProxyTransport::unspecified;
  ProxyEndpoint source;  // these of inet and inet6 only
  ProxyEndpoint destination;
  std::vector<uint8_t> tlvs;  // whole ones, one behind the other

  bool has_endpoints() const {
    return command == ProxyCommand::proxy && (family == ProxyFamily::inet || family == ProxyFamily::inet6);
  }
  // Whether the source is the client of this TCP connection. If not, the connection keeps its own addresses: a health
  // check, or something that is no TCP.
  bool names_client() const { return has_endpoints() && transport == ProxyTransport::stream; }
};

// CRC-32C (RFC 4960, appendix B, and RFC 3720, B.4) of bytes behind others, whose value is `before`.
uint32_t crc32c(const uint8_t* data, size_t size, uint32_t before = 0);

}  // namespace iocp
