// sources: native/core/proxy_protocol

#include <arpa/inet.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/proxy_protocol/proxy_decoder.h"
#include "core/proxy_protocol/proxy_encoder.h"

using namespace iocp;

namespace {

using Bytes = std::vector<uint8_t>;
using Step = ProxyDecoder::Step;

void must(bool holds) {
  if (!holds) std::abort();
}

Step feed(ProxyDecoder& decoder, const uint8_t* data, size_t size, size_t piece, size_t* used) {
  Step step = Step::more;
  *used = 0;
  while (*used < size && step == Step::more) {
    const size_t part = piece < size - *used ? piece : size - *used;
    // A copy of its own: a byte behind it is one too many.
    const Bytes copy(data + *used, data + *used + part);
    size_t taken = 0;
    step = decoder.take(copy.data(), copy.size(), &taken);
    must(taken <= part && (step != Step::more || taken == part));
    *used += taken;
  }
  return step;
}

void must_be_equal(const ProxyHeader& one, const ProxyHeader& other) {
  must(one.version == other.version && one.command == other.command && one.family == other.family);
  must(one.transport == other.transport && one.tlvs == other.tlvs);
  must(std::memcmp(one.source.address, other.source.address, 16) == 0 && one.source.port == other.source.port);
  must(std::memcmp(one.destination.address, other.destination.address, 16) == 0);
  must(one.destination.port == other.destination.port);
}

// What the specification says, written down once more: of a whole input, with the system's functions for addresses.
// False when its front is no header of version 1.
bool model_line(const std::string& input, size_t* size, ProxyHeader* header) {
  if (input.compare(0, 6, "PROXY ") != 0) return false;
  const size_t end = input.find("\r\n");
  if (end == std::string::npos || end + 2 > 107) return false;
  const std::string line = input.substr(6, end - 6);
  if (line.find_first_of("\r\n") != std::string::npos) return false;
  *size = end + 2;
  header->version = 1;
  if (line == "UNKNOWN" || line.compare(0, 8, "UNKNOWN ") == 0) {
    header->command = ProxyCommand::local;
    return true;
  }
  header->command = ProxyCommand::proxy;
  std::vector<std::string> words(1);
  for (const char letter : line) {
    if (letter == ' ')
      words.emplace_back();
    else
      words.back() += letter;
  }
  if (words.size() != 5 || (words[0] != "TCP4" && words[0] != "TCP6")) return false;
  const bool is_v4 = words[0] == "TCP4";
  header->family = is_v4 ? ProxyFamily::inet : ProxyFamily::inet6;
  header->transport = ProxyTransport::stream;
  for (int i = 0; i < 2; ++i) {
    ProxyEndpoint& endpoint = i == 0 ? header->source : header->destination;
    const std::string& address = words[1 + i];
    const std::string& port = words[3 + i];
    if (address.find('\0') != std::string::npos) return false;
    if (inet_pton(is_v4 ? AF_INET : AF_INET6, address.c_str(), endpoint.address) != 1) return false;
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos) return false;
    if (std::to_string(std::stoi(port)) != port || std::stoi(port) > 65535) return false;
    endpoint.port = static_cast<uint16_t>(std::stoi(port));
  }
  return true;
}

// The same for version 2. Bit by bit, where the decoder has a table.
uint32_t model_crc(Bytes bytes, size_t zeroed) {
  for (size_t i = 0; i < 4; ++i) bytes[zeroed + i] = 0;
  uint32_t value = 0xFFFFFFFFu;
  for (const uint8_t byte : bytes) {
    value ^= byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0x82F63B78u : value >> 1;
  }
  return value ^ 0xFFFFFFFFu;
}

bool model_block(const Bytes& input, size_t limit, size_t* size, ProxyHeader* header) {
  static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
  if (input.size() < 16 || std::memcmp(input.data(), signature, 12) != 0) return false;
  const int command = input[12] & 15;
  const int family = input[13] >> 4;
  const int transport = input[13] & 15;
  if (input[12] >> 4 != 2 || command > 1) return false;
  const bool known = family <= 3 && transport <= 2;
  if (command == 1 && !known) return false;
  *size = 16 + input[14] * 256u + input[15];
  if (*size > limit || *size > input.size()) return false;
  const Bytes whole(input.begin(), input.begin() + static_cast<ptrdiff_t>(*size));
  header->version = 2;
  header->command = static_cast<ProxyCommand>(command);
  if (known) {
    header->family = static_cast<ProxyFamily>(family);
    header->transport = static_cast<ProxyTransport>(transport);
  }
  static const size_t sizes[] = {0, 12, 36, 216};
  const size_t from = 16 + (known ? sizes[family] : 0);
  if (whole.size() < from) return command == 0;
  if (command == 1 && (family == 1 || family == 2)) {
    const size_t width = family == 1 ? 4 : 16;
    std::memcpy(header->source.address, &whole[16], width);
    std::memcpy(header->destination.address, &whole[16 + width], width);
    header->source.port = static_cast<uint16_t>(whole[16 + 2 * width] * 256 + whole[17 + 2 * width]);
    header->destination.port = static_cast<uint16_t>(whole[18 + 2 * width] * 256 + whole[19 + 2 * width]);
  }
  const bool strict = command == 1 && family != 0;
  size_t checksum = 0;
  size_t at = from;
  while (at < whole.size()) {
    const size_t left = whole.size() - at;
    const size_t length = left < 3 ? left : 3u + whole[at + 1] * 256u + whole[at + 2];
    const bool fits = left >= 3 && length <= left && (whole[at] != 5 || length <= 131) &&
                      (whole[at] != 3 || (length == 7 && checksum == 0));
    if (!fits) return !strict;
    if (whole[at] == 3) checksum = at + 3;
    at += length;
  }
  if (checksum != 0) {
    const uint32_t given = static_cast<uint32_t>(whole[checksum]) << 24 | whole[checksum + 1] << 16 |
                           whole[checksum + 2] << 8 | whole[checksum + 3];
    if (given != model_crc(whole, checksum)) return false;
  }
  header->tlvs.assign(whole.begin() + static_cast<ptrdiff_t>(from), whole.end());
  return true;
}

// The checksum of the first TLV of that kind is put right: chance would not find one.
Bytes with_checksum(const Bytes& input) {
  Bytes bytes = input;
  for (const size_t from : {size_t{16}, size_t{28}, size_t{52}, size_t{232}}) {
    const size_t size = bytes.size() < 16 ? 0 : 16 + bytes[14] * 256u + bytes[15];
    if (size > bytes.size()) break;
    for (size_t at = from; at + 7 <= size; at += 3u + bytes[at + 1] * 256u + bytes[at + 2]) {
      if (bytes[at] != 3 || bytes[at + 1] != 0 || bytes[at + 2] != 4) continue;
      const Bytes whole(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
      const uint32_t value = model_crc(whole, at + 3);
      for (size_t i = 0; i < 4; ++i) bytes[at + 3 + i] = static_cast<uint8_t>(value >> (24 - 8 * i));
      return bytes;
    }
  }
  return bytes;
}

void check(const Bytes& input, size_t piece) {
  ProxyDecoder::Rules rules;
  rules.max_size = kProxyMinLimit;
  ProxyDecoder whole(rules);
  ProxyDecoder split(rules);
  size_t used = 0;
  size_t used_split = 0;
  const Step step = feed(whole, input.data(), input.size(), SIZE_MAX, &used);
  must(feed(split, input.data(), input.size(), piece, &used_split) == step);
  must(used == used_split && whole.error() == split.error());
  must((step == Step::failed) == (whole.error() != ProxyError::none));

  ProxyHeader expected;
  size_t size = 0;
  const std::string text(input.begin(), input.end());
  bool is_header = model_line(text, &size, &expected);
  if (!is_header) {
    expected = {};
    is_header = model_block(input, rules.max_size, &size, &expected);
  }
  must((step == Step::done) == is_header);
  if (!is_header) return;
  must(used == size);
  must_be_equal(whole.header(), expected);
  must_be_equal(split.header(), expected);

  const Bytes wire = encode_proxy_header(whole.header(), false);
  // Nothing writes AF_UNIX, and version 1 what it ignores behind UNKNOWN.
  must(wire.empty() == (whole.header().family == ProxyFamily::unix_socket));
  if (wire.empty()) return;
  ProxyDecoder again(rules);
  const Step second = feed(again, wire.data(), wire.size(), piece, &used);
  // The checksum among the TLVs may be one of other bytes: of LOCAL no address is written back as it was.
  if (second == Step::failed) return must(again.error() == ProxyError::bad_checksum);
  must(second == Step::done && used == wire.size());
  must_be_equal(again.header(), expected);
}

}  // namespace

// [size of the pieces][input]
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 64;
  const Bytes input(data + 1, data + size);
  check(input, piece);
  check(with_checksum(input), piece);
  return 0;
}
