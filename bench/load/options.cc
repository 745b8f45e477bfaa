#include "load/options.h"

#include <cstdlib>
#include <cstring>

namespace bench {
namespace {

bool number(const char* text, double low, double high, double* out) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= low && value <= high)) return false;
  *out = value;
  return true;
}

struct Field {
  const char* name;
  double low;
  double high;
  void (*set)(Options*, double);
};

constexpr Field kFields[] = {
    {"--port", 1, 65535, [](Options* o, double v) { o->port = static_cast<uint16_t>(v); }},
    {"--connections", 1, 60000, [](Options* o, double v) { o->connections = static_cast<uint32_t>(v); }},
    {"--size", 16, 1 << 20, [](Options* o, double v) { o->size = static_cast<uint32_t>(v); }},
    {"--depth", 1, 1024, [](Options* o, double v) { o->depth = static_cast<uint32_t>(v); }},
    {"--window", 1, 60000, [](Options* o, double v) { o->window = static_cast<uint32_t>(v); }},
    {"--first", 0, 60000, [](Options* o, double v) { o->first = static_cast<uint32_t>(v); }},
    {"--rate", 1, 1e7, [](Options* o, double v) { o->rate = v; }},
    {"--warm-up", 0, 600, [](Options* o, double v) { o->warm_up = v; }},
    {"--seconds", 0.01, 3600, [](Options* o, double v) { o->seconds = v; }},
    {"--limit", 1, 36000, [](Options* o, double v) { o->limit = v; }},
};

bool scenario(const char* word, Scenario* out) {
  constexpr struct {
    const char* name;
    Scenario value;
  } kNames[] = {{"echo", Scenario::echo},
                {"connect", Scenario::connect},
                {"hold", Scenario::hold},
                {"broadcast", Scenario::broadcast}};
  for (const auto& name : kNames) {
    if (std::strcmp(word, name.name) != 0) continue;
    *out = name.value;
    return true;
  }
  return false;
}

bool option(const char* name, const char* text, Options* options, std::string* problem) {
  for (const Field& field : kFields) {
    if (std::strcmp(name, field.name) != 0) continue;
    double value = 0;
    if (number(text, field.low, field.high, &value)) {
      field.set(options, value);
      return true;
    }
    *problem = std::string(name) + " cannot be " + text;
    return false;
  }
  *problem = std::string("no such option: ") + name;
  return false;
}

}  // namespace

bool read_options(int count, char** words, Options* options, std::string* problem) {
  if (count < 2 || !scenario(words[1], &options->scenario)) {
    *problem = "the first word has to be echo, connect, hold or broadcast";
    return false;
  }
  for (int i = 2; i < count; i += 2) {
    if (i + 1 == count) {
      *problem = std::string("no value after ") + words[i];
      return false;
    }
    if (!option(words[i], words[i + 1], options, problem)) return false;
  }
  if (options->port == 0) {
    *problem = "--port is needed";
    return false;
  }
  return true;
}

}  // namespace bench
