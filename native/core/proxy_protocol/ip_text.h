#pragma once
// Addresses as version 1 of the PROXY protocol writes them. Not the system's functions: they take more than that, and
// the core knows no system.
#include <cstddef>
#include <cstdint>

namespace iocp {

// The longest: eight groups of four digits.
constexpr size_t kMaxIpText = 39;

// Four decimal numbers without leading zeros. False when it is none.
bool parse_ipv4(const char* text, size_t size, uint8_t* address);
// Groups of one to four hexadecimal digits, "::" once for one or more groups of zero; the last four bytes may stand as
// those of IPv4, as inet_ntop() and so HAProxy write mapped addresses.
bool parse_ipv6(const char* text, size_t size, uint8_t* address);
// The number of a port: decimal, without leading zeros.
bool parse_port(const char* text, size_t size, uint16_t* port);

// Without a zero at the end; the size written, at most kMaxIpText.
size_t format_ipv4(const uint8_t* address, char* text);
// RFC 5952, section 4: lower case, the first longest run of two or more groups of zero shortened.
size_t format_ipv6(const uint8_t* address, char* text);

}  // namespace iocp
