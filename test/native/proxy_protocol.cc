// Headers of the PROXY protocol: vectors by section of the specification, each truncation, each byte changed, every
// split.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string>
#include <vector>

#include "core/proxy_protocol/ip_text.h"
#include "core/proxy_protocol/proxy_decoder.h"
#include "core/proxy_protocol/proxy_encoder.h"
#include "random_numbers.h"
#if !defined(_WIN32)
#include <arpa/inet.h>
#endif

using namespace iocp;

namespace {

using Bytes = std::vector<uint8_t>;
using Step = ProxyDecoder::Step;

struct Outcome {
  Step step;
  ProxyError error;
  size_t used;
  ProxyHeader header;
};

Bytes bytes_of(const std::string& text) { return Bytes(text.begin(), text.end()); }

Outcome decode(const Bytes& input, const ProxyDecoder::Rules& rules = {}, size_t piece = SIZE_MAX) {
  ProxyDecoder decoder(rules);
  Step step = Step::more;
  size_t used = 0;
  bool orderly = true;  // checked once: there are millions of pieces
  while (used < input.size() && step == Step::more) {
    size_t taken = 0;
    const size_t size = (std::min)(piece, input.size() - used);
    step = decoder.take(input.data() + used, size, &taken);
    orderly = orderly && taken <= size && (step != Step::more || taken == size);
    used += taken;
  }
  if (!orderly) CHECK(orderly);
  return {step, decoder.error(), used, decoder.header()};
}

ProxyError error_of(const std::string& line) { return decode(bytes_of(line)).error; }

std::string text_of(const ProxyHeader& header, const ProxyEndpoint& end) {
  char text[kMaxIpText];
  const size_t size =
      header.family == ProxyFamily::inet ? format_ipv4(end.address, text) : format_ipv6(end.address, text);
  return std::string(text, size) + " " + std::to_string(end.port);
}

// Of version 2: [command][family and transport] and what is behind the size.
Bytes block(uint8_t command, uint8_t family, const Bytes& rest) {
  Bytes out(kProxySignature, kProxySignature + sizeof(kProxySignature));
  out.push_back(command);
  out.push_back(family);
  out.push_back(static_cast<uint8_t>(rest.size() >> 8));
  out.push_back(static_cast<uint8_t>(rest.size()));
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

const Bytes kInet = {192, 0, 2, 7, 198, 51, 100, 9, 0xDD, 0xD5, 0x01, 0xBB};

Bytes operator+(Bytes one, const Bytes& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

Bytes tlv(uint8_t type, const Bytes& value) {
  return Bytes{type, static_cast<uint8_t>(value.size() >> 8), static_cast<uint8_t>(value.size())} + value;
}

// One of each kind.
std::vector<Bytes> samples() {
  ProxyHeader inet;
  inet.version = 2;
  inet.command = ProxyCommand::proxy;
  inet.family = ProxyFamily::inet;
  inet.transport = ProxyTransport::stream;
  std::memcpy(inet.source.address, &kInet[0], 4);
  std::memcpy(inet.destination.address, &kInet[4], 4);
  inet.source.port = 56789;
  inet.destination.port = 443;
  inet.tlvs = tlv(0x02, bytes_of("example.com")) + tlv(0x04, {}) + tlv(0x05, Bytes(128, 7));
  return {bytes_of("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
          bytes_of("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 0 65535\r\n"),
          bytes_of("PROXY UNKNOWN\r\n"),
          bytes_of("PROXY UNKNOWN whatever it is\r\n"),
          block(0x20, 0x00, {}),
          block(0x21, 0x11, kInet),
          block(0x21, 0x21, Bytes(36, 0x20)),
          block(0x21, 0x31, Bytes(216, 'x')),
          encode_proxy_header(inet, true)};
}

}  // namespace

TEST_CASE("proxy protocol: version 1") {
  const Outcome v4 = decode(bytes_of("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n"));
  CHECK(v4.step == Step::done);
  CHECK(v4.used == 47);
  CHECK(v4.header.version == 1);
  CHECK(v4.header.names_client());
  CHECK(text_of(v4.header, v4.header.source) == "192.168.0.1 56324");
  CHECK(text_of(v4.header, v4.header.destination) == "192.168.0.11 443");
  const Outcome v6 = decode(bytes_of("PROXY TCP6 2001:DB8:0:0:0:0:0:1 ::ffff:192.0.2.1 0 65535\r\n"));
  CHECK(text_of(v6.header, v6.header.source) == "2001:db8::1 0");
  CHECK(text_of(v6.header, v6.header.destination) == "::ffff:c000:201 65535");
  // The longest lines that 2.1 names.
  const std::string six = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  CHECK(error_of("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n") == ProxyError::none);
  CHECK(error_of("PROXY TCP6 " + six + " " + six + " 65535 65535\r\n") == ProxyError::none);
  const std::string longest = "PROXY UNKNOWN " + six + " " + six + " 65535 65535\r\n";
  CHECK(longest.size() == kProxyMaxLine);
  const Outcome unknown = decode(bytes_of(longest));
  CHECK(unknown.step == Step::done);
  CHECK(unknown.header.command == ProxyCommand::local);
  CHECK_FALSE(unknown.header.names_client());
}

TEST_CASE("proxy protocol: what version 1 is not") {
  for (const char* line : {"GET / HTTP/1.1\r\n", "PROXX", "PROXY\t", "proxy TCP4", "", "\r\n\r\n\r"}) {
    if (*line != '\0') CHECK(error_of(line) == ProxyError::no_header);
  }
  for (const char* line : {"PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY UNKNOWNX\r\n",
                           "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
                           "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP6\t::1 ::1 1 2\r\n"}) {
    CAPTURE(line);
    CHECK(error_of(line) == ProxyError::bad_protocol);
  }
  for (const char* line :
       {"PROXY TCP4 \r\n", "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 1.2.3.4 \r\n", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4.5 1.2.3.4 1 2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 256.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "PROXY TCP6 ::1::1 ::1 1 2\r\n", "PROXY TCP6 12345::1 ::1 1 2\r\n",
        "PROXY TCP6 ::1%1 ::1 1 2\r\n", "PROXY TCP6 [::1] ::1 1 2\r\n", "PROXY TCP4 1.2.3.+4 1.2.3.4 1 2\r\n"}) {
    CAPTURE(line);
    CHECK(error_of(line) == ProxyError::bad_address);
  }
  for (const char* line :
       {"PROXY TCP4 1.2.3.4 1.2.3.4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 99999999999999999999\r\n"}) {
    CAPTURE(line);
    CHECK(error_of(line) == ProxyError::bad_port);
  }
  for (const char* line : {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r",
                           "PROXY TCP4 1.2.3.4 1.2.3.4 1\r2\r\n", "PROXY UNKNOWN a\nb\r\n", "PROXY \n"}) {
    CAPTURE(line);
    CHECK(error_of(line) == ProxyError::bad_line_end);
  }
}

TEST_CASE("proxy protocol: a line has 107 bytes at most") {
  const std::string fits = "PROXY UNKNOWN " + std::string(kProxyMaxLine - 16, 'x') + "\r\n";
  CHECK(error_of(fits) == ProxyError::none);
  const std::string longer = "PROXY UNKNOWN " + std::string(kProxyMaxLine - 15, 'x') + "\r\n";
  const Outcome outcome = decode(bytes_of(longer));
  CHECK(outcome.error == ProxyError::line_too_long);
  CHECK(outcome.used == kProxyMaxLine);
  // Without an end nothing is waited for beyond that either.
  CHECK(decode(bytes_of("PROXY " + std::string(5000, 'x'))).used == kProxyMaxLine);
}

TEST_CASE("proxy protocol: version 2") {
  const Outcome v4 = decode(block(0x21, 0x11, kInet) + bytes_of("rest"));
  CHECK(v4.step == Step::done);
  CHECK(v4.used == 28);
  CHECK(v4.header.version == 2);
  CHECK(v4.header.names_client());
  CHECK(text_of(v4.header, v4.header.source) == "192.0.2.7 56789");
  CHECK(text_of(v4.header, v4.header.destination) == "198.51.100.9 443");
  CHECK(v4.header.tlvs.empty());
  Bytes six(36, 0);
  six[0] = 0x20;
  six[15] = 1;
  six[31] = 2;
  six[33] = 80;
  const Outcome v6 = decode(block(0x21, 0x21, six + tlv(0x01, bytes_of("h2"))));
  CHECK(text_of(v6.header, v6.header.source) == "2000::1 80");
  CHECK(text_of(v6.header, v6.header.destination) == "::2 0");
  CHECK(v6.header.tlvs == tlv(0x01, bytes_of("h2")));
}

TEST_CASE("proxy protocol: what is no client of TCP keeps its own addresses") {
  // UNSPEC in each combination, AF_UNIX, datagrams; LOCAL whatever it has.
  for (const int family : {0x00, 0x01, 0x02, 0x10, 0x12, 0x20, 0x22, 0x30, 0x31, 0x32}) {
    CAPTURE(family);
    const Outcome outcome = decode(block(0x21, static_cast<uint8_t>(family), Bytes(216, 0)));
    CHECK(outcome.step == Step::done);
    CHECK(outcome.used == 16 + 216);
    CHECK_FALSE(outcome.header.names_client());
  }
  for (const int family : {0x00, 0x11, 0x31, 0x41, 0xFF}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{11}, size_t{500}}) {
      const Outcome outcome = decode(block(0x20, static_cast<uint8_t>(family), Bytes(size, 0xEE)));
      CHECK(outcome.step == Step::done);
      CHECK(outcome.used == 16 + size);
      CHECK_FALSE(outcome.header.names_client());
      CHECK(outcome.header.tlvs.empty());
    }
  }
  // HAProxy's checks: LOCAL with TLVs and no addresses.
  CHECK(decode(block(0x20, 0x00, tlv(0x05, {1, 2}))).header.tlvs == tlv(0x05, {1, 2}));
}

TEST_CASE("proxy protocol: what version 2 is not") {
  const auto error = [](const Bytes& input) { return decode(input).error; };
  for (const uint8_t byte : {0x11, 0x31, 0x01, 0xF1}) CHECK(error(block(byte, 0x11, kInet)) == ProxyError::bad_version);
  for (const uint8_t byte : {0x22, 0x2F}) CHECK(error(block(byte, 0x11, kInet)) == ProxyError::bad_command);
  for (const uint8_t byte : {0x41, 0xF1, 0x13, 0x1F}) {
    CHECK(error(block(0x21, byte, kInet)) == ProxyError::bad_family);
  }
  for (const size_t size : {0, 1, 11}) CHECK(error(block(0x21, 0x11, Bytes(size))) == ProxyError::short_address);
  CHECK(error(block(0x21, 0x21, Bytes(35))) == ProxyError::short_address);
  CHECK(error(block(0x21, 0x31, Bytes(215))) == ProxyError::short_address);
  for (size_t i = 0; i < sizeof(kProxySignature); ++i) {
    Bytes input = block(0x21, 0x11, kInet);
    input[i] ^= 1;
    const Outcome outcome = decode(input);
    CHECK(outcome.error == ProxyError::no_header);
    CHECK(outcome.used == i + 1);
  }
}

TEST_CASE("proxy protocol: a header has a limit, and is not waited for above it") {
  ProxyDecoder::Rules rules;
  rules.max_size = kProxyMinLimit;
  const Bytes fits = block(0x21, 0x11, kInet + tlv(0x04, Bytes(kProxyMinLimit - 16 - 12 - 3)));
  CHECK(fits.size() == kProxyMinLimit);
  CHECK(decode(fits, rules).step == Step::done);
  const Bytes longer = block(0x21, 0x11, kInet + tlv(0x04, Bytes(kProxyMinLimit - 16 - 12 - 2)));
  CHECK(decode(longer, rules).error == ProxyError::too_large);
  CHECK(decode(longer, rules).used == 16);
  rules.max_size = kProxyMaxSize;
  CHECK(decode(block(0x20, 0x00, Bytes(65535)), rules).used == kProxyMaxSize);
}

TEST_CASE("proxy protocol: versions that are not accepted") {
  for (const Bytes& sample : samples()) {
    const bool line = sample[0] == 'P';
    ProxyDecoder::Rules rules;
    (line ? rules.version1 : rules.version2) = false;
    CHECK(decode(sample, rules).error == ProxyError::version_not_allowed);
    CHECK(decode(sample, rules).used == 1);
    rules = {};
    (line ? rules.version2 : rules.version1) = false;
    CHECK(decode(sample, rules).step == Step::done);
  }
}

TEST_CASE("proxy protocol: TLVs are whole") {
  const auto error = [](const Bytes& tlvs) { return decode(block(0x21, 0x11, kInet + tlvs)).error; };
  CHECK(error({0x01}) == ProxyError::bad_tlv);
  CHECK(error({0x01, 0}) == ProxyError::bad_tlv);
  CHECK(error({0x01, 0, 0}) == ProxyError::none);
  CHECK(error({0x01, 0, 1}) == ProxyError::bad_tlv);
  CHECK(error(tlv(0xEA, {1}) + Bytes{1, 0xFF, 0xFF, 0}) == ProxyError::bad_tlv);
  CHECK(error(tlv(0x05, Bytes(128))) == ProxyError::none);
  CHECK(error(tlv(0x05, Bytes(129))) == ProxyError::bad_tlv);
  CHECK(error(tlv(0x03, Bytes(3))) == ProxyError::bad_tlv);
  CHECK(error(tlv(0x03, Bytes(5))) == ProxyError::bad_tlv);
}

TEST_CASE("proxy protocol: the checksum") {
  // RFC 3720, B.4, and the usual check value.
  CHECK(crc32c(reinterpret_cast<const uint8_t*>("123456789"), 9) == 0xE3069283u);
  CHECK(crc32c(Bytes(32, 0).data(), 32) == 0x8A9136AAu);
  CHECK(crc32c(Bytes(32, 0xFF).data(), 32) == 0x62A8AB43u);
  const Bytes all = samples().back();
  CHECK(crc32c(all.data() + 9, all.size() - 9, crc32c(all.data(), 9)) == crc32c(all.data(), all.size()));
  CHECK(decode(all).step == Step::done);
  // Any other bit in what it is made of: an address, a port, the value of a TLV, the checksum itself. (Where a type or
  // a size changes there may be no checksum any more.)
  const size_t tail = all.size() - proxy_tlv::kChecksumSize;
  for (size_t i = kProxyFixed; i < all.size(); ++i) {
    const bool is_value = i < kProxyFixed + kInet.size() || (i > all.size() - 7 - 128 && i < tail - 3) || i >= tail;
    for (int bit = 0; is_value && bit < 8; ++bit) {
      Bytes changed = all;
      changed[i] ^= static_cast<uint8_t>(1 << bit);
      CHECK(decode(changed).error == ProxyError::bad_checksum);
    }
  }
  const Bytes two = tlv(0x03, Bytes(4)) + tlv(0x03, Bytes(4));
  CHECK(decode(block(0x21, 0x11, kInet + two)).error == ProxyError::bad_tlv);
  CHECK(decode(block(0x20, 0x00, tlv(0x03, Bytes(4)))).error == ProxyError::bad_checksum);
}

TEST_CASE("proxy protocol: every truncation waits, every split is the same") {
  for (const Bytes& sample : samples()) {
    const Outcome whole = decode(sample + bytes_of("behind it"));
    CHECK(whole.step == Step::done);
    CHECK(whole.used == sample.size());
    for (size_t size = 0; size < sample.size(); ++size) {
      const Outcome cut = decode(Bytes(sample.begin(), sample.begin() + static_cast<ptrdiff_t>(size)));
      CHECK(cut.step == Step::more);
      CHECK(cut.used == size);
    }
    for (const size_t piece : {1, 2, 3, 7, 15, 16, 17, 28}) {
      const Outcome split = decode(sample + bytes_of("behind it"), {}, piece);
      CHECK(split.step == Step::done);
      CHECK(split.used == sample.size());
      CHECK(split.header.tlvs == whole.header.tlvs);
      CHECK(std::memcmp(&split.header.source, &whole.header.source, sizeof(ProxyEndpoint)) == 0);
    }
  }
}

TEST_CASE("proxy protocol: every byte changed is the same in one piece and in many") {
  for (const Bytes& sample : samples()) {
    for (size_t i = 0; i < sample.size(); ++i) {
      for (int byte = 0; byte < 256; ++byte) {
        Bytes changed = sample;
        changed[i] = static_cast<uint8_t>(byte);
        const Outcome whole = decode(changed);
        const Outcome split = decode(changed, {}, 1);
        const bool same = whole.step == split.step && whole.error == split.error && whole.used == split.used &&
                          (whole.step == Step::failed) == (whole.error != ProxyError::none) &&
                          (whole.step != Step::done ||
                           encode_proxy_header(whole.header, false) == encode_proxy_header(split.header, false));
        if (!same) CHECK(same);
      }
    }
  }
}

TEST_CASE("proxy protocol: after its end it takes nothing") {
  for (const char* input : {"PROXY UNKNOWN\r\n", "nonsense"}) {
    ProxyDecoder decoder({});
    const Bytes bytes = bytes_of(input);
    size_t used = 0;
    const Step step = decoder.take(bytes.data(), bytes.size(), &used);
    CHECK(decoder.take(bytes.data(), bytes.size(), &used) == step);
    CHECK(used == 0);
  }
}

TEST_CASE("proxy protocol: what is encoded is decoded, whatever it is") {
  RandomNumbers random(7);
  for (int round = 0; round < 20'000; ++round) {
    ProxyHeader header;
    header.version = random() % 2 == 0 ? 1 : 2;
    header.command = random() % 4 == 0 ? ProxyCommand::local : ProxyCommand::proxy;
    header.family = static_cast<ProxyFamily>(random() % 3);
    header.transport = static_cast<ProxyTransport>(random() % 3);
    for (ProxyEndpoint* end : {&header.source, &header.destination}) {
      if (header.family == ProxyFamily::unspecified) break;
      const size_t width = header.family == ProxyFamily::inet ? 4 : 16;
      // Many zeros, for the short form.
      for (size_t i = 0; i < width; ++i)
        end->address[i] = random() % 2 == 0 ? uint8_t{0} : static_cast<uint8_t>(random());
      end->port = static_cast<uint16_t>(random());
    }
    if (header.version == 2 && random() % 2 == 0)
      header.tlvs = tlv(static_cast<uint8_t>(0xE0 + random() % 16), Bytes(random() % 300, 9));
    const bool checksum = random() % 2 == 0;
    const Bytes bytes = encode_proxy_header(header, checksum);
    const bool is_line = header.version == 1;
    const bool is_unknown =
        is_line && (header.command == ProxyCommand::local || header.family == ProxyFamily::unspecified);
    if (is_line && !is_unknown && header.transport != ProxyTransport::stream) {
      CHECK(bytes.empty());
      continue;
    }
    // Which says nothing else.
    if (is_unknown) {
      header = {};
      header.version = 1;
    }
    const Outcome outcome = decode(bytes + Bytes(random() % 9, 'P'), {}, 1 + random() % 64);
    REQUIRE(outcome.step == Step::done);
    CHECK(outcome.used == bytes.size());
    CHECK(outcome.header.version == header.version);
    CHECK(outcome.header.command == header.command);
    CHECK(outcome.header.family == header.family);
    const bool named = header.command == ProxyCommand::proxy && header.family != ProxyFamily::unspecified;
    if (named) {
      CHECK(std::memcmp(outcome.header.source.address, header.source.address, 16) == 0);
      CHECK(std::memcmp(outcome.header.destination.address, header.destination.address, 16) == 0);
      CHECK(outcome.header.source.port == header.source.port);
      CHECK(outcome.header.destination.port == header.destination.port);
    }
    const size_t extra = header.version == 2 && checksum ? proxy_tlv::kHeader + proxy_tlv::kChecksumSize : 0;
    CHECK(outcome.header.tlvs.size() == header.tlvs.size() + extra);
  }
}

TEST_CASE("proxy protocol: what cannot be written is not") {
  ProxyHeader header;
  header.version = 2;
  header.tlvs = tlv(0xE0, Bytes(65535 - 3));
  CHECK(encode_proxy_header(header, false).size() == kProxyMaxSize);
  CHECK(encode_proxy_header(header, true).empty());
  header.tlvs.clear();
  header.family = ProxyFamily::unix_socket;
  CHECK(encode_proxy_header(header, false).empty());
  header = {};
  header.version = 1;
  header.command = ProxyCommand::proxy;
  const Bytes unknown = encode_proxy_header(header, false);
  CHECK(std::string(unknown.begin(), unknown.end()) == "PROXY UNKNOWN\r\n");
  header.tlvs = tlv(1, {});
  CHECK(encode_proxy_header(header, false).empty());
}

#if !defined(_WIN32)
TEST_CASE("proxy protocol: addresses are read and written as the system does") {
  RandomNumbers random(11);
  const char letters[] = "0123456789abcdefABCF::::....%x";
  const auto agree = [](const std::string& text) {
    uint8_t mine[16] = {};
    uint8_t system[16] = {};
    CAPTURE(text);
    const bool is_v6 = inet_pton(AF_INET6, text.c_str(), system) == 1;
    REQUIRE(parse_ipv6(text.data(), text.size(), mine) == is_v6);
    if (is_v6) CHECK(std::memcmp(mine, system, 16) == 0);
    const bool is_v4 = inet_pton(AF_INET, text.c_str(), system) == 1;
    REQUIRE(parse_ipv4(text.data(), text.size(), mine) == is_v4);
    if (is_v4) CHECK(std::memcmp(mine, system, 4) == 0);
  };
  for (const char* text : {"",
                           ":",
                           "::",
                           ":::",
                           "1::",
                           "::1",
                           "1:2:3:4:5:6:7:8",
                           "1:2:3:4:5:6:7::",
                           "::2:3:4:5:6:7:8",
                           "1:2:3:4:5:6:7::8",
                           "::1.2.3.4",
                           "1:2:3:4:5:6:1.2.3.4",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "1.2.3.4::",
                           "1:2:3:4:5::1.2.3.4",
                           "::1.2.3",
                           "1.2.3.4",
                           "1.2.3.04",
                           "1.2.3.",
                           ".1.2.3",
                           "1.2.3.4 ",
                           "1::2::3",
                           ":1",
                           "1:",
                           "00001::",
                           "::g",
                           "1.2.3.256",
                           "::ffff:255.255.255.255",
                           "::1.2.3.4:5"}) {
    agree(text);
  }
  for (int round = 0; round < 50'000; ++round) {
    std::string text;
    const uint32_t size = random() % 24;
    for (uint32_t i = 0; i < size; ++i) text += letters[random() % (sizeof(letters) - 1)];
    agree(text);
  }
  for (int round = 0; round < 20'000; ++round) {
    uint8_t address[16];
    for (uint8_t& byte : address) byte = random() % 3 == 0 ? static_cast<uint8_t>(random()) : uint8_t{0};
    char text[INET6_ADDRSTRLEN] = {};
    char own[kMaxIpText + 1] = {};
    own[format_ipv4(address, own)] = '\0';
    CHECK(std::string(own) == inet_ntop(AF_INET, address, text, sizeof(text)));
    std::memset(own, 0, sizeof(own));
    CHECK(format_ipv6(address, own) <= kMaxIpText);
    uint8_t back[16] = {};
    REQUIRE(inet_pton(AF_INET6, own, back) == 1);
    CHECK(std::memcmp(back, address, 16) == 0);
    inet_ntop(AF_INET6, address, text, sizeof(text));
    // The system writes some addresses with an address of IPv4 at their end.
    if (std::strchr(text, '.') == nullptr) CHECK(std::string(own) == text);
    for (char& letter : text) letter = static_cast<char>(std::toupper(letter));
    CHECK(parse_ipv6(text, std::strlen(text), back));
    CHECK(std::memcmp(back, address, 16) == 0);
  }
}
#endif
