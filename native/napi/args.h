#pragma once
// Reads what the facade hands over. The facade has validated it for people; here a wrong type or range
// is an error of the program and throws a TypeError that names the property.
#include <cstdint>
#include <string>

#include <napi.h>

#include "core/access/prefix_set.h"
#include "win/engine/engine.h"
#include "win/engine/listener.h"
#include "win/io/profile.h"
#include "win/jobs/job_hub.h"

namespace iocp {

// Collects the first error instead of throwing: without C++ exceptions every read would need a check.
class ArgumentReader {
 public:
  ArgumentReader(Napi::Env env, Napi::Value value);

  bool ok() const { return error_.empty(); }
  // Throws the first error, if there was one, into JavaScript; true when there was none.
  bool finish() const;

  uint64_t number(const char* name, uint64_t least, uint64_t most);
  int64_t signed_number(const char* name, int64_t least, int64_t most);
  bool boolean(const char* name);
  std::string text(const char* name);
  // Prefixes as bytes, kPrefixBytes each.
  PrefixSet prefixes(const char* name);
  bool has(const char* name) const;
  Napi::Value get(const char* name) const;
  void fail(const std::string& what);
  void adopt_error(const ArgumentReader& other);

 private:
  Napi::Env env_;
  Napi::Object object_;
  std::string error_;
};

// "peer_end" as JavaScript writes it: "peerEnd".
std::string camel_case(const char* name);

// Addresses and prefixes cross the boundary as bytes: 16 of the address, IPv4 as mapped IPv6, and one with the number
// of bits.
constexpr size_t kAddressBytes = 16;
constexpr size_t kPrefixBytes = kAddressBytes + 1;
IpPrefix prefix_from(const uint8_t* bytes);
// False when it is not the bytes of whole items.
bool bytes_of(const Napi::Value& value, size_t item, const uint8_t** data, size_t* count);

// What JavaScript passed, taken as it is: 0, false or nothing when it is something else. Conversions are
// JavaScript, and in an environment that is being torn down none can run; there Napi's end the process.
uint32_t uint32_of(const Napi::Value& value);
uint64_t whole_number(const Napi::Value& value);
bool boolean_of(const Napi::Value& value);
std::string text_of(const Napi::Value& value);

// `external_memory`: see DeliveryBridge::open.
bool read_engine_options(Napi::Env env, Napi::Value value, EngineOptions* out, bool* external_memory);
bool read_time_limits(const Napi::Value& value, TimeLimits* out);
bool read_profile(Napi::Env env, Napi::Value value, Profile* out);
bool read_job_options(Napi::Env env, Napi::Value value, JobHubOptions* out);
// 'high', 'normal' or 'low' as 0, 1, 2; anything else is taken for normal.
JobPriority job_priority(uint32_t number);
bool read_listen_options(Napi::Env env, Napi::Value value, const Engine& engine, ListenOptions* out);
bool read_connect_options(Napi::Env env, Napi::Value value, const Engine& engine, ConnectOptions* out);

}  // namespace iocp
