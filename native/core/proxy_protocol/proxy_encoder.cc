#include "core/proxy_protocol/proxy_encoder.h"

#include <string>

#include "core/proxy_protocol/ip_text.h"

namespace iocp {
namespace {

std::vector<uint8_t> encode_line(const ProxyHeader& header) {
  if (!header.tlvs.empty()) return {};
  std::string line = "PROXY ";
  if (header.command == ProxyCommand::local || header.family == ProxyFamily::unspecified) {
    line += "UNKNOWN";
  } else if (header.names_client()) {
    const bool is_v4 = header.family == ProxyFamily::inet;
    line += is_v4 ? "TCP4" : "TCP6";
    for (const ProxyEndpoint* end : {&header.source, &header.destination}) {
      char text[kMaxIpText];
      const size_t size = is_v4 ? format_ipv4(end->address, text) : format_ipv6(end->address, text);
      line.append(" ").append(text, size);
    }
    line += " " + std::to_string(header.source.port) + " " + std::to_string(header.destination.port);
  } else {
    return {};
  }
  line += "\r\n";
  return std::vector<uint8_t>(line.begin(), line.end());
}

void append_u16(std::vector<uint8_t>* out, size_t value) {
  out->push_back(static_cast<uint8_t>(value >> 8));
  out->push_back(static_cast<uint8_t>(value));
}

std::vector<uint8_t> encode_block(const ProxyHeader& header, bool checksum) {
  if (header.family == ProxyFamily::unix_socket) return {};
  std::vector<uint8_t> out(kProxySignature, kProxySignature + sizeof(kProxySignature));
  out.push_back(static_cast<uint8_t>(0x20 | static_cast<uint8_t>(header.command)));
  out.push_back(
      static_cast<uint8_t>(static_cast<uint8_t>(header.family) << 4 | static_cast<uint8_t>(header.transport)));
  append_u16(&out, 0);  // the size, when it is known
  if (header.family != ProxyFamily::unspecified) {
    const size_t width = header.family == ProxyFamily::inet ? 4 : 16;
    out.insert(out.end(), header.source.address, header.source.address + width);
    out.insert(out.end(), header.destination.address, header.destination.address + width);
    append_u16(&out, header.source.port);
    append_u16(&out, header.destination.port);
  }
  out.insert(out.end(), header.tlvs.begin(), header.tlvs.end());
  const size_t at = out.size() + proxy_tlv::kHeader;
  if (checksum) {
    out.push_back(proxy_tlv::kChecksum);
    append_u16(&out, proxy_tlv::kChecksumSize);
    out.insert(out.end(), proxy_tlv::kChecksumSize, uint8_t{0});
  }
  if (out.size() > kProxyMaxSize) return {};
  out[14] = static_cast<uint8_t>((out.size() - kProxyFixed) >> 8);
  out[15] = static_cast<uint8_t>(out.size() - kProxyFixed);
  if (checksum) {
    const uint32_t value = crc32c(out.data(), out.size());
    for (int i = 0; i < 4; ++i) out[at + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> (24 - 8 * i));
  }
  return out;
}

}  // namespace

std::vector<uint8_t> encode_proxy_header(const ProxyHeader& header, bool checksum) {
  return header.version == 1 ? encode_line(header) : encode_block(header, checksum);
}

}  // namespace iocp
