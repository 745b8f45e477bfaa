#pragma once
// Takes a header of the PROXY protocol out of the front of a stream, however that comes in pieces. It takes the bytes
// of the header and never one behind them.
//
// What cannot become a header any more fails at the byte that says so, and memory follows the bytes that have come.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/proxy_protocol/proxy_header.h"

namespace iocp {

class ProxyDecoder {
 public:
  struct Rules {
    bool version1 = true;
    bool version2 = true;
    uint32_t max_size = 4096;  // of a header of version 2; not below kProxyMinLimit
  };
  enum class Step : uint8_t { more, done, failed };

  explicit ProxyDecoder(const Rules& rules) : rules_(rules) {}

  // Takes so many of the bytes as belong to the header. After `done` or `failed` it takes none.
  Step take(const uint8_t* data, size_t size, size_t* used);
  ProxyError error() const { return error_; }
  // When it is done.
  const ProxyHeader& header() const { return header_; }

 private:
  Step fail(ProxyError error);
  bool take_byte(uint8_t byte);
  bool take_text(uint8_t byte);
  bool take_fixed(uint8_t byte);
  ProxyError decode_line();
  ProxyError decode_block();
  ProxyError decode_tlvs(size_t from, bool strict);

  Rules rules_;
  ProxyError error_ = ProxyError::none;
  bool done_ = false;
  size_t size_ = 0;             // of a header of version 2, when it is known
  std::vector<uint8_t> bytes_;  // those that have come
  ProxyHeader header_;
};

}  // namespace iocp
