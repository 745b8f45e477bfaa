// sources: native/core/framing native/core/payload_memory.cc test/native/framing_recorder.cc
// sources: test/fuzz/framing_fuzz.cc test/fuzz/framing_model.cc

#include "framing_fuzz.h"

using iocp::FramingKind;
using iocp::FramingOptions;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  framing_fuzz::Choices choices(data, size);
  FramingOptions options;
  options.kind = FramingKind::delimiter;
  choose_limits(choices, &options);
  options.stream_above = FramingOptions::never;
  options.strip_delimiter = choices.flag();
  const bool few_letters = choices.flag();
  for (uint32_t n = choices.below(5); n != 0; --n) {
    std::string delimiter = choices.bytes(choices.below(few_letters ? 9 : 68));
    if (few_letters) {
      for (char& c : delimiter) c = static_cast<char>('a' + (c & 1));
    }
    options.delimiters.push_back(delimiter);
  }
  check_framing(options, choices);
  return 0;
}
