#pragma once

#include <string>

#include "framing_recorder.h"

namespace framing_fuzz {

// What the bytes mean, decoded as a whole, slowly, and without a line of the decoders: the second
// opinion of the fuzz targets.
framing_test::Outcome model(const iocp::FramingOptions& options, const std::string& input);

}  // namespace framing_fuzz
