#pragma once

#include <string>
#include <vector>

#include "framing_recorder.h"

namespace framing_fuzz {

// Takes decisions from the front of the fuzzer's bytes; zeros when they are used up.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  uint8_t byte();
  uint32_t word();
  bool flag() { return (byte() & 1) != 0; }
  uint32_t below(uint32_t limit) { return byte() % limit; }
  // Small most of the time, anything sometimes.
  uint64_t size();
  std::string bytes(size_t size);
  std::string rest();

 private:
  const uint8_t* data_;
  size_t size_;
};

// Sets what all framings have: the limits and what happens beyond them.
void choose_limits(Choices& choices, iocp::FramingOptions* options);

// Takes the cuts, the stops and the stream from what is left of the choices, and ends the process
// unless for these options
//   - the model and the decoder say the same of the stream,
//   - the decoder says it however the stream is cut and wherever it is stopped,
//   - no more memory is held than twice the bytes that came,
//   - what wrap() lets through comes back as it was, and what it refuses would not have,
//   - what the decoder has delivered is let through.
void check_framing(const iocp::FramingOptions& options, Choices& choices);

// Prints both and ends the process when they differ.
void same(const char* what, const framing_test::Outcome& one, const framing_test::Outcome& other);

std::vector<size_t> choose_cuts(Choices& choices);

}  // namespace framing_fuzz
