#pragma once
#include <cstdint>
#include <string>

#include "win/sys/win.h"

namespace iocp {

// An IPv4 or IPv6 address with its port. IPv4-mapped IPv6 addresses can be unmapped, so that a rule or
// a user never sees two spellings of one host.
class Address {
 public:
  static constexpr size_t kMaxBlob = 1 + 2 + 16 + 4;

  Address() = default;
  // Literal addresses only ("127.0.0.1", "::1", "fe80::1%3"). False when it is none.
  static bool parse(const std::string& text, uint16_t port, Address* out);
  static Address any(int family, uint16_t port);
  static Address from(const sockaddr* address, int size);
  // 0, or the Winsock number.
  static uint32_t local_of(SOCKET socket, Address* out);

  bool known() const { return storage_.sin6_family != 0; }
  int family() const { return storage_.sin6_family; }
  uint16_t port() const { return ntohs(storage_.sin6_port); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  int size() const { return static_cast<int>(family() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6)); }
  Address unmapped() const;
  // 127.0.0.0/8 or ::1, mapped or not.
  bool is_loopback() const;
  std::string host() const;
  // [u8 family 4|6][u16 BE port][4 or 16 bytes][u32 BE scope, family 6 only]; the size written.
  size_t write_blob(uint8_t* out) const;

 private:
  const sockaddr_in& v4() const { return reinterpret_cast<const sockaddr_in&>(storage_); }
  // The port stands at the same place in both families.
  sockaddr_in6 storage_{};
};

}  // namespace iocp
