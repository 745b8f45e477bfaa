#include "load/scenarios.h"

#include <cstdio>

#include "load/broadcasting.h"
#include "load/connecting.h"
#include "load/echo.h"

namespace bench {

std::unique_ptr<Load> make_scenario(const Options& options) {
  switch (options.scenario) {
    case Scenario::echo:
      return std::make_unique<EchoLoad>(options);
    case Scenario::broadcast:
      return std::make_unique<BroadcastLoad>(options);
    case Scenario::connect:
    case Scenario::hold:
      break;
  }
  return std::make_unique<ConnectLoad>(options);
}

void say_phase(const char* phase) {
  std::printf("{\"phase\":\"%s\"}\n", phase);
  std::fflush(stdout);
}

void say_result(const Result& result, bool in_time) {
  const auto us = [&](double percent) { return static_cast<double>(result.latency.percentile(percent)) / 1e3; };
  std::printf(
      "{\"messages\":%llu,\"seconds\":%.6f,\"errors\":%llu,\"refused\":%llu,\"connections\":%u,"
      "\"inTime\":%s,\"latencyMicroseconds\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}}\n",
      static_cast<unsigned long long>(result.messages), result.seconds, static_cast<unsigned long long>(result.errors),
      static_cast<unsigned long long>(result.refused), result.connections, in_time ? "true" : "false", us(50), us(90),
      us(99), static_cast<double>(result.latency.max()) / 1e3);
  std::fflush(stdout);
}

void wait_for_line() {
  int byte = 0;
  do {
    byte = std::getchar();
  } while (byte != '\n' && byte != EOF);
}

}  // namespace bench
