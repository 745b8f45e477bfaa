#include "win/sys/address.h"

#include <cstdlib>
#include <cstring>

#include "win/sys/socket_calls.h"

namespace iocp {

bool Address::parse(const std::string& text, uint16_t port, Address* out) {
  sockaddr_in v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    *out = from(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4));
    return true;
  }
  const size_t percent = text.find('%');
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, text.substr(0, percent).c_str(), &v6.sin6_addr) != 1) return false;
  if (percent != std::string::npos) {  // the interface's number, as Windows writes it
    char* end = nullptr;
    v6.sin6_scope_id = static_cast<uint32_t>(std::strtoul(text.c_str() + percent + 1, &end, 10));
    if (end == text.c_str() + percent + 1 || *end != '\0') return false;
  }
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  *out = from(reinterpret_cast<const sockaddr*>(&v6), sizeof(v6));
  return true;
}

Address Address::any(int family, uint16_t port) {
  Address address;
  address.storage_.sin6_family = static_cast<decltype(storage_.sin6_family)>(family);
  address.storage_.sin6_port = htons(port);
  return address;
}

Address Address::from(const sockaddr* source, int size) {
  Address address;
  if (source == nullptr || size <= 0) return address;
  const size_t bytes = static_cast<size_t>(size);
  std::memcpy(&address.storage_, source, bytes < sizeof(address.storage_) ? bytes : sizeof(address.storage_));
  return address;
}

uint32_t Address::local_of(SOCKET socket, Address* out) {
  Address address;
  int size = sizeof(address.storage_);
  const uint32_t error = calls::local_address(socket, reinterpret_cast<sockaddr*>(&address.storage_), &size);
  if (error == 0) *out = address;
  return error;
}

Address Address::unmapped() const {
  if (family() != AF_INET6) return *this;
  static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&storage_.sin6_addr);
  if (std::memcmp(bytes, prefix, sizeof(prefix)) != 0) return *this;
  sockaddr_in plain{};
  plain.sin_family = AF_INET;
  plain.sin_port = storage_.sin6_port;
  std::memcpy(&plain.sin_addr, bytes + 12, 4);
  return from(reinterpret_cast<const sockaddr*>(&plain), sizeof(plain));
}

bool Address::is_loopback() const {
  const Address plain = unmapped();
  if (plain.family() == AF_INET) return (ntohl(plain.v4().sin_addr.s_addr) >> 24) == 127;
  return plain.family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&plain.storage_.sin6_addr);
}

std::string Address::host() const {
  char text[64] = {};
  if (family() == AF_INET) {
    sockaddr_in copy = v4();
    (void)inet_ntop(AF_INET, &copy.sin_addr, text, sizeof(text));
    return text;
  }
  sockaddr_in6 copy = storage_;
  (void)inet_ntop(AF_INET6, &copy.sin6_addr, text, sizeof(text));
  std::string host = text;
  if (storage_.sin6_scope_id != 0) host += "%" + std::to_string(storage_.sin6_scope_id);
  return host;
}

size_t Address::write_blob(uint8_t* out) const {
  size_t at = 0;
  const bool is_v4 = family() == AF_INET;
  out[at++] = is_v4 ? 4 : 6;
  std::memcpy(out + at, &storage_.sin6_port, 2);
  at += 2;
  if (is_v4) {
    std::memcpy(out + at, &v4().sin_addr, 4);
    return at + 4;
  }
  std::memcpy(out + at, &storage_.sin6_addr, 16);
  at += 16;
  const uint32_t scope = htonl(storage_.sin6_scope_id);
  std::memcpy(out + at, &scope, 4);
  return at + 4;
}

}  // namespace iocp
