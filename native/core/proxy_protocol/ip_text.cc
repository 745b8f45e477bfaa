#include "core/proxy_protocol/ip_text.h"

#include <cstdio>
#include <cstring>

namespace iocp {
namespace {

int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

// A decimal number without leading zeros.
bool parse_decimal(const char* text, size_t size, uint32_t most, uint32_t* value) {
  if (size == 0 || size > 5 || (size > 1 && text[0] == '0')) return false;
  uint32_t number = 0;
  for (size_t i = 0; i < size; ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
    number = number * 10 + static_cast<uint32_t>(text[i] - '0');
  }
  *value = number;
  return number <= most;
}

size_t find(const char* text, size_t from, size_t size, char what) {
  while (from < size && text[from] != what) ++from;
  return from;
}

// Groups with colons between them, into `groups` from *count on; the last one may be an address of IPv4, two groups.
// Nothing at all is no group.
bool parse_groups(const char* text, size_t size, uint16_t* groups, size_t* count) {
  for (size_t at = 0; size != 0; ++at) {
    const size_t end = find(text, at, size, ':');
    const size_t digits = end - at;
    uint8_t tail[4];
    if (end == size && parse_ipv4(text + at, digits, tail)) {
      if (*count + 2 > 8) return false;
      groups[(*count)++] = static_cast<uint16_t>(tail[0] << 8 | tail[1]);
      groups[(*count)++] = static_cast<uint16_t>(tail[2] << 8 | tail[3]);
      return true;
    }
    if (digits == 0 || digits > 4 || *count == 8) return false;
    uint32_t group = 0;
    for (; at < end; ++at) {
      const int digit = hex_digit(text[at]);
      if (digit < 0) return false;
      group = group << 4 | static_cast<uint32_t>(digit);
    }
    groups[(*count)++] = static_cast<uint16_t>(group);
    if (end == size) return true;
  }
  return true;
}

}  // namespace

bool parse_ipv4(const char* text, size_t size, uint8_t* address) {
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    const size_t end = i == 3 ? size : find(text, at, size, '.');
    uint32_t number = 0;
    if (at > size || !parse_decimal(text + at, end - at, 255, &number)) return false;
    address[i] = static_cast<uint8_t>(number);
    if (i < 3 && end == size) return false;
    at = end + 1;
  }
  return true;
}

bool parse_ipv6(const char* text, size_t size, uint8_t* address) {
  // Where "::" stands, if it does.
  size_t gap = 0;
  while (gap + 1 < size && (text[gap] != ':' || text[gap + 1] != ':')) ++gap;
  const bool is_short = gap + 1 < size;
  uint16_t groups[8] = {};
  size_t front = 0;
  uint16_t back[8] = {};
  size_t behind = 0;
  if (!is_short) {
    if (size == 0 || !parse_groups(text, size, groups, &front) || front != 8) return false;
  } else {
    // An address of IPv4 can only stand at the very end.
    if (find(text, 0, gap, '.') != gap) return false;
    if (!parse_groups(text, gap, groups, &front)) return false;
    if (!parse_groups(text + gap + 2, size - gap - 2, back, &behind) || front + behind > 7) return false;
    std::memcpy(groups + 8 - behind, back, behind * sizeof(uint16_t));
  }
  for (int i = 0; i < 8; ++i) {
    address[2 * i] = static_cast<uint8_t>(groups[i] >> 8);
    address[2 * i + 1] = static_cast<uint8_t>(groups[i]);
  }
  return true;
}

bool parse_port(const char* text, size_t size, uint16_t* port) {
  uint32_t number = 0;
  if (!parse_decimal(text, size, 65535, &number)) return false;
  *port = static_cast<uint16_t>(number);
  return true;
}

size_t format_ipv4(const uint8_t* address, char* text) {
  char buffer[16];
  const int size = std::snprintf(buffer, sizeof(buffer), "%u.%u.%u.%u", address[0], address[1], address[2], address[3]);
  std::memcpy(text, buffer, static_cast<size_t>(size));
  return static_cast<size_t>(size);
}

size_t format_ipv6(const uint8_t* address, char* text) {
  uint32_t groups[8];
  for (int i = 0; i < 8; ++i) groups[i] = static_cast<uint32_t>(address[2 * i]) << 8 | address[2 * i + 1];
  int best = -1;
  int length = 1;
  for (int start = 0; start < 8; ++start) {
    int run = 0;
    while (start + run < 8 && groups[start + run] == 0) ++run;
    if (run > length) {
      best = start;
      length = run;
    }
  }
  size_t at = 0;
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      text[at++] = ':';
      if (i + length == 8) text[at++] = ':';
      i += length - 1;
      continue;
    }
    char buffer[8];
    const int size = std::snprintf(buffer, sizeof(buffer), "%s%x", i == 0 ? "" : ":", groups[i]);
    std::memcpy(text + at, buffer, static_cast<size_t>(size));
    at += static_cast<size_t>(size);
  }
  return at;
}

}  // namespace iocp
