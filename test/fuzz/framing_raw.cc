// sources: native/core/framing native/core/payload_memory.cc test/native/framing_recorder.cc
// sources: test/fuzz/framing_fuzz.cc test/fuzz/framing_model.cc

#include "framing_fuzz.h"

using iocp::FramingKind;
using iocp::FramingOptions;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  framing_fuzz::Choices choices(data, size);
  FramingOptions options;
  options.kind = FramingKind::raw;
  check_framing(options, choices);
  return 0;
}
