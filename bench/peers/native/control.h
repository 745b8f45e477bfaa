#pragma once
// The lines by which the benchmark controls a server: it says on which port it listens, answers `memory`, and ends
// when its stdin does.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

#include "peers/native/windows_headers.h"

namespace bench {

inline uint64_t private_bytes() {
  PROCESS_MEMORY_COUNTERS_EX counters{};
  counters.cb = sizeof(counters);
  if (!GetProcessMemoryInfo(GetCurrentProcess(),
                            reinterpret_cast<PROCESS_MEMORY_COUNTERS*>(&counters),
                            sizeof(counters))) {
    return 0;
  }
  return counters.PrivateUsage;
}

// Runs on a thread of its own, for as long as the process does.
inline void obey() {
  char line[64];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    if (std::strncmp(line, "memory", 6) == 0) {
      std::printf("{\"memory\":%llu}\n", static_cast<unsigned long long>(private_bytes()));
    } else {
      std::printf("{}\n");
    }
    std::fflush(stdout);
  }
  ExitProcess(0);
}

inline void start_control(uint16_t port) {
  std::printf("{\"ready\":%u}\n", static_cast<unsigned>(port));
  std::fflush(stdout);
  std::thread(obey).detach();
}

}  // namespace bench
