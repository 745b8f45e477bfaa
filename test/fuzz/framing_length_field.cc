// sources: native/core/framing native/core/payload_memory.cc test/native/framing_recorder.cc
// sources: test/fuzz/framing_fuzz.cc test/fuzz/framing_model.cc

#include "framing_fuzz.h"

using iocp::FramingOptions;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  framing_fuzz::Choices choices(data, size);
  static const uint32_t widths[] = {1, 2, 3, 4, 8};
  FramingOptions options;
  options.bytes = widths[choices.below(5)];
  if (choices.flag()) options.endian = iocp::Endian::little;
  options.offset = choices.below(34);
  const uint8_t strip = choices.byte();
  if (strip < 128) options.strip = strip % 34;
  const uint8_t adjust = choices.byte();
  if (adjust < 100) {
    options.adjustment = int64_t{adjust} - 50;
  } else if (adjust < 120) {
    options.adjustment = static_cast<int32_t>(choices.word());
  }
  choose_limits(choices, &options);
  check_framing(options, choices);
  return 0;
}
