#pragma once
#include <memory>

#include "load/load.h"

namespace bench {

std::unique_ptr<Load> make_scenario(const Options& options);

// One line of JSON on stdout, at once: the benchmark looks at the server when it sees it.
void say_phase(const char* phase);
void say_result(const Result& result, bool in_time);
// Waits for a line on stdin.
void wait_for_line();

}  // namespace bench
