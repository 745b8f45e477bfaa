#pragma once
// The lines by which the benchmark controls a server: it says on which port it listens, answers `memory` and `stats`,
// and ends when its stdin does.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

#include "peers/native/windows_headers.h"

namespace bench {

inline uint64_t private_bytes() {
  PROCESS_MEMORY_COUNTERS_EX counters{};
  counters.cb = sizeof(counters);
  if (!GetProcessMemoryInfo(GetCurrentProcess(), reinterpret_cast<PROCESS_MEMORY_COUNTERS*>(&counters),
                            sizeof(counters))) {
    return 0;
  }
  return counters.PrivateUsage;
}

// Microseconds of processor time that the process has used so far.
inline void print_cpu() {
  FILETIME created{};
  FILETIME ended{};
  FILETIME kernel{};
  FILETIME user{};
  (void)GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user);
  const auto microseconds = [](const FILETIME& time) {
    return ((static_cast<unsigned long long>(time.dwHighDateTime) << 32) | time.dwLowDateTime) / 10;
  };
  std::printf("{\"cpu\":{\"user\":%llu,\"system\":%llu}}\n", microseconds(user), microseconds(kernel));
}

// Runs on a thread of its own, for as long as the process does.
inline void obey() {
  char line[64];
  while (std::fgets(line, sizeof(line), stdin) != nullptr) {
    if (std::strncmp(line, "memory", 6) == 0) {
      std::printf("{\"memory\":%llu}\n", static_cast<unsigned long long>(private_bytes()));
    } else if (std::strncmp(line, "stats", 5) == 0) {
      print_cpu();
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
