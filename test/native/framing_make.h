#pragma once

#include <doctest/doctest.h>

#include <utility>

#include "framing_recorder.h"

namespace framing_test {

constexpr uint64_t gibibyte = uint64_t{1} << 30;

inline std::shared_ptr<const iocp::Framing> make(const iocp::FramingOptions& options) {
  std::string error;
  auto framing = make_framing(options, &error);
  INFO(error);
  REQUIRE(bool(framing));
  CHECK(error.empty());
  return framing;
}

inline iocp::FramingOptions length_field(uint32_t bytes) {
  iocp::FramingOptions o;
  o.bytes = bytes;
  return o;
}

inline iocp::FramingOptions delimited(std::vector<std::string> delimiters) {
  iocp::FramingOptions o;
  o.kind = iocp::FramingKind::delimiter;
  o.delimiters = std::move(delimiters);
  return o;
}

}  // namespace framing_test
