#include "core/proxy_protocol/proxy_decoder.h"

#include <algorithm>
#include <cstring>

#include "core/proxy_protocol/ip_text.h"

namespace iocp {
namespace {

constexpr char kLineStart[] = "PROXY ";
constexpr size_t kLineStartSize = sizeof(kLineStart) - 1;
constexpr size_t kInetBlock = 2 * 4 + 2 * 2;
constexpr size_t kInet6Block = 2 * 16 + 2 * 2;
constexpr size_t kUnixBlock = 2 * 108;

uint16_t read_u16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
uint32_t read_u32(const uint8_t* at) { return static_cast<uint32_t>(read_u16(at)) << 16 | read_u16(at + 2); }

size_t block_size(ProxyFamily family) {
  switch (family) {
    case ProxyFamily::inet:
      return kInetBlock;
    case ProxyFamily::inet6:
      return kInet6Block;
    case ProxyFamily::unix_socket:
      return kUnixBlock;
    case ProxyFamily::unspecified:
      break;
  }
  return 0;
}

}  // namespace

ProxyDecoder::Step ProxyDecoder::fail(ProxyError error) {
  error_ = error;
  bytes_ = {};
  return Step::failed;
}

ProxyDecoder::Step ProxyDecoder::take(const uint8_t* data, size_t size, size_t* used) {
  *used = 0;
  if (error_ != ProxyError::none) return Step::failed;
  if (done_) return Step::done;
  while (*used < size) {
    if (size_ != 0) {
      // The rest of version 2 is taken as it comes: its size is known.
      const size_t part = (std::min)(size - *used, size_ - bytes_.size());
      bytes_.insert(bytes_.end(), data + *used, data + *used + part);
      *used += part;
    } else {
      // The byte that is wrong is taken too.
      if (!take_byte(data[(*used)++])) return fail(error_);
    }
    const bool is_line = bytes_[0] == kLineStart[0];
    if (is_line ? bytes_.back() != '\n' : size_ == 0 || bytes_.size() < size_) continue;
    const ProxyError error = is_line ? decode_line() : decode_block();
    if (error != ProxyError::none) return fail(error);
    done_ = true;
    bytes_ = {};
    return Step::done;
  }
  return Step::more;
}

// False, and error_ says why, when the bytes so far cannot be the front of a header.
bool ProxyDecoder::take_byte(uint8_t byte) {
  if (bytes_.empty()) {
    const bool text = byte == static_cast<uint8_t>(kLineStart[0]);
    if (!text && byte != kProxySignature[0])
      error_ = ProxyError::no_header;
    else if (!(text ? rules_.version1 : rules_.version2))
      error_ = ProxyError::version_not_allowed;
    if (error_ != ProxyError::none) return false;
  }
  bytes_.push_back(byte);
  return bytes_[0] == kLineStart[0] ? take_text(byte) : take_fixed(byte);
}

bool ProxyDecoder::take_text(uint8_t byte) {
  const size_t count = bytes_.size();
  if (count <= kLineStartSize) {
    if (byte != static_cast<uint8_t>(kLineStart[count - 1])) error_ = ProxyError::no_header;
  } else if ((byte == '\n') != (bytes_[count - 2] == '\r')) {
    // "must not tolerate a single CR or LF character to end the line" (2.1)
    error_ = ProxyError::bad_line_end;
  } else if (count == kProxyMaxLine && byte != '\n') {
    error_ = ProxyError::line_too_long;
  }
  return error_ == ProxyError::none;
}

bool ProxyDecoder::take_fixed(uint8_t byte) {
  const size_t count = bytes_.size();
  if (count <= sizeof(kProxySignature)) {
    if (byte != kProxySignature[count - 1]) error_ = ProxyError::no_header;
  } else if (count == 13) {
    if (byte >> 4 != 2)
      error_ = ProxyError::bad_version;
    else if ((byte & 0x0F) > static_cast<uint8_t>(ProxyCommand::proxy))
      error_ = ProxyError::bad_command;
    else
      header_.command = static_cast<ProxyCommand>(byte & 0x0F);
  } else if (count == 14) {
    const uint8_t family = byte >> 4;
    const uint8_t transport = byte & 0x0F;
    const bool known = family <= static_cast<uint8_t>(ProxyFamily::unix_socket) &&
                       transport <= static_cast<uint8_t>(ProxyTransport::datagram);
    // LOCAL: the family "is ignored" (2.2).
    if (known) {
      header_.family = static_cast<ProxyFamily>(family);
      header_.transport = static_cast<ProxyTransport>(transport);
    } else if (header_.command == ProxyCommand::proxy) {
      error_ = ProxyError::bad_family;
    }
  } else if (count == kProxyFixed) {
    size_ = kProxyFixed + read_u16(&bytes_[14]);
    if (size_ > rules_.max_size) error_ = ProxyError::too_large;
  }
  return error_ == ProxyError::none;
}

// PROXY <protocol>[ <source> <destination> <port> <port>]\r\n, of which the start and the end are there.
ProxyError ProxyDecoder::decode_line() {
  const char* const text = reinterpret_cast<const char*>(bytes_.data());
  const size_t size = bytes_.size() - 2;
  header_.version = 1;
  header_.command = ProxyCommand::proxy;
  size_t at = kLineStartSize;
  const auto starts = [&](const char* word, size_t length) {
    return size - at >= length && std::memcmp(text + at, word, length) == 0;
  };
  if (starts("UNKNOWN", 7)) {
    // "the receiver must ignore anything presented before the CRLF". What version 1 has for version 2's LOCAL.
    header_.command = ProxyCommand::local;
    return size == at + 7 || text[at + 7] == ' ' ? ProxyError::none : ProxyError::bad_protocol;
  }
  if (starts("TCP4 ", 5))
    header_.family = ProxyFamily::inet;
  else if (starts("TCP6 ", 5))
    header_.family = ProxyFamily::inet6;
  else
    return ProxyError::bad_protocol;
  header_.transport = ProxyTransport::stream;
  at += 5;
  // The word up to the next space, or the last one up to the end.
  size_t length = 0;
  const auto next = [&](bool last) {
    const char* const word = text + at;
    length = 0;
    while (at + length < size && (last || word[length] != ' ')) ++length;
    at += length + 1;
    return word;
  };
  const bool is_v4 = header_.family == ProxyFamily::inet;
  for (ProxyEndpoint* end : {&header_.source, &header_.destination}) {
    if (at > size) return ProxyError::bad_address;
    const char* const word = next(false);
    if (!(is_v4 ? parse_ipv4(word, length, end->address) : parse_ipv6(word, length, end->address)))
      return ProxyError::bad_address;
  }
  for (ProxyEndpoint* end : {&header_.source, &header_.destination}) {
    if (at > size) return ProxyError::bad_port;
    const char* const word = next(end == &header_.destination);
    if (!parse_port(word, length, &end->port)) return ProxyError::bad_port;
  }
  return ProxyError::none;
}

ProxyError ProxyDecoder::decode_block() {
  header_.version = 2;
  const size_t address_end = kProxyFixed + block_size(header_.family);
  const bool is_local = header_.command == ProxyCommand::local;
  if (bytes_.size() < address_end) return is_local ? ProxyError::none : ProxyError::short_address;
  if (header_.has_endpoints()) {
    const size_t width = header_.family == ProxyFamily::inet ? 4 : 16;
    const uint8_t* const block = &bytes_[kProxyFixed];
    std::memcpy(header_.source.address, block, width);
    std::memcpy(header_.destination.address, block + width, width);
    header_.source.port = read_u16(block + 2 * width);
    header_.destination.port = read_u16(block + 2 * width + 2);
  }
  // Without a family nobody knows how long the addresses are, if there are any, and the block of LOCAL has to be
  // discarded, whatever it is. HAProxy sends TLVs and no addresses then, so they are taken where they are that.
  const bool strict = !is_local && header_.family != ProxyFamily::unspecified;
  return decode_tlvs(address_end, strict);
}

// Not `strict`: what is no list of TLVs is left out.
ProxyError ProxyDecoder::decode_tlvs(size_t from, bool strict) {
  const size_t end = bytes_.size();
  const ProxyError wrong = strict ? ProxyError::bad_tlv : ProxyError::none;
  size_t checksum = 0;
  for (size_t at = from; at < end;) {
    if (end - at < proxy_tlv::kHeader) return wrong;
    const uint8_t type = bytes_[at];
    const size_t size = read_u16(&bytes_[at + 1]);
    at += proxy_tlv::kHeader;
    if (end - at < size) return wrong;
    if (type == proxy_tlv::kUniqueId && size > proxy_tlv::kMaxUniqueId) return wrong;
    if (type == proxy_tlv::kChecksum) {
      // Two checksums would each have to be made with the other one in place.
      if (size != proxy_tlv::kChecksumSize || checksum != 0) return wrong;
      checksum = at;
    }
    at += size;
  }
  if (checksum != 0) {
    // Of the whole header, with zeros in its own place (2.2.3).
    const uint8_t zeros[proxy_tlv::kChecksumSize] = {};
    uint32_t value = crc32c(bytes_.data(), checksum);
    value = crc32c(zeros, sizeof(zeros), value);
    value = crc32c(&bytes_[checksum] + sizeof(zeros), end - checksum - sizeof(zeros), value);
    if (value != read_u32(&bytes_[checksum])) return ProxyError::bad_checksum;
  }
  header_.tlvs.assign(bytes_.begin() + static_cast<ptrdiff_t>(from), bytes_.end());
  return ProxyError::none;
}

}  // namespace iocp
