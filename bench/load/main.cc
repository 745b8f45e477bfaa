// Loads a server with framed messages and checks every byte that comes back. Prints one line of JSON when measuring
// begins and one with the result.
#include <cstdio>

#include "load/scenarios.h"

int main(int count, char** words) {
  bench::Options options;
  std::string problem;
  if (!bench::read_options(count, words, &options, &problem)) {
    std::fprintf(stderr, "load: %s\n", problem.c_str());
    return 2;
  }
  bench::start_sockets();
  const auto load = bench::make_scenario(options);
  const bool in_time = load->run();
  bench::say_result(load->result(), in_time);
  return 0;
}
