// Who may connect: what the engine's own environment asks and changes. Addresses and prefixes cross the boundary as
// bytes: 16 of the address, IPv4 as mapped IPv6, and one with the number of bits.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "napi/args.h"
#include "napi/engine_wrap.h"

namespace iocp {
namespace {

// [prefix][how often, one byte][automatic, one byte][reason, two bytes][left in milliseconds, a double; Infinity: for
// ever; below 0: it is over], little-endian as every Windows is.
constexpr size_t kBanBytes = kPrefixBytes + 1 + 1 + 2 + 8;

void write_address(const IpAddress& address, uint8_t* to) {
  for (int i = 0; i < 8; ++i) to[i] = static_cast<uint8_t>(address.high >> (56 - 8 * i));
  for (int i = 0; i < 8; ++i) to[8 + i] = static_cast<uint8_t>(address.low >> (56 - 8 * i));
}

// [count, within in milliseconds] for each offence, in the order of the enumeration.
void read_offences(ArgumentReader& reader, const char* name, AccessRules* rules) {
  const Napi::Value value = reader.get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array ||
      value.As<Napi::TypedArray>().ElementLength() != 2 * kOffenceCount) {
    return reader.fail(name);
  }
  const uint32_t* numbers = value.As<Napi::Uint32Array>().Data();
  for (size_t i = 0; i < kOffenceCount; ++i) rules->ban_on[i] = {numbers[2 * i], numbers[2 * i + 1]};
}

std::shared_ptr<const AccessRules> read_rules(Napi::Env env, Napi::Value value) {
  constexpr uint64_t kMaxMs = uint64_t{1} << 53;
  auto rules = std::make_shared<AccessRules>();
  ArgumentReader reader(env, value);
  const auto u32 = [&](const char* name, uint64_t least) {
    return static_cast<uint32_t>(reader.number(name, least, UINT32_MAX));
  };
  rules->allow = reader.prefixes("allow");
  rules->deny = reader.prefixes("deny");
  rules->max_per_address = u32("maxPerAddress", 0);
  rules->max_per_subnet = u32("maxPerSubnet", 0);
  rules->v4_subnet_bits = static_cast<uint32_t>(reader.number("v4SubnetBits", 0, 32));
  rules->v6_subnet_bits = static_cast<uint32_t>(reader.number("v6SubnetBits", 0, 128));
  rules->rate_count = u32("rateCount", 0);
  rules->rate_per_ms = u32("ratePer", 1);
  rules->rate_burst = u32("rateBurst", 1);
  read_offences(reader, "banOn", rules.get());
  rules->ban.time_ms = reader.number("banTime", 1, kMaxMs);
  rules->ban.factor = static_cast<double>(reader.number("banFactorThousandths", 1000, 1000 * 1000)) / 1000;
  rules->ban.max_ms = reader.number("banMax", 1, kMaxMs);
  rules->table_size = u32("tableSize", 1);
  rules->reset_refused = reader.boolean("resetRefused");
  return reader.finish() ? rules : nullptr;
}

}  // namespace

AccessControl* EngineWrap::access() const { return engine_ == nullptr ? nullptr : engine_->access(); }

// (rules)
void EngineWrap::set_access(const Napi::CallbackInfo& info) {
  Engine* engine = running(info);
  if (engine == nullptr) return;
  if (auto rules = read_rules(info.Env(), info[0])) engine->set_access(std::move(rules));
}

// (prefix, milliseconds, reason) -> milliseconds from now on. 0 milliseconds: as the rules say; below 0: for ever.
Napi::Value EngineWrap::ban(const Napi::CallbackInfo& info) {
  const uint8_t* prefix = nullptr;
  size_t count = 0;
  if (access() == nullptr || !bytes_of(info[0], kPrefixBytes, &prefix, &count) || count != 1 || !info[1].IsNumber()) {
    return Napi::Number::New(info.Env(), 0);
  }
  const double wanted = info[1].As<Napi::Number>().DoubleValue();
  const bool ends = wanted >= 0 && wanted < 1e15;
  const uint64_t time_ms = ends ? static_cast<uint64_t>(wanted) : BanList::kForEver;
  const uint64_t left = access()->ban(prefix_from(prefix), time_ms, static_cast<uint16_t>(uint32_of(info[2])));
  return Napi::Number::New(info.Env(), left == BanList::kForEver ? -1 : static_cast<double>(left));
}

// (prefix) -> whether it was banned
Napi::Value EngineWrap::lift(const Napi::CallbackInfo& info) {
  const uint8_t* prefix = nullptr;
  size_t count = 0;
  const bool held = access() != nullptr && bytes_of(info[0], kPrefixBytes, &prefix, &count) && count == 1 &&
                    access()->lift(prefix_from(prefix));
  return Napi::Boolean::New(info.Env(), held);
}

// (ban, kBanBytes)
void EngineWrap::restore_ban(const Napi::CallbackInfo& info) {
  const uint8_t* bytes = nullptr;
  size_t count = 0;
  if (access() == nullptr || !bytes_of(info[0], kBanBytes, &bytes, &count) || count != 1) return;
  constexpr double kMost = 1e15;
  double left = 0;
  std::memcpy(&left, bytes + kPrefixBytes + 4, sizeof(left));
  AccessControl::KnownBan ban{};
  ban.prefix = prefix_from(bytes);
  ban.left_ms = !(left < kMost) ? AccessControl::kForEver : static_cast<int64_t>((std::max)(left, -kMost));
  std::memcpy(&ban.reason, bytes + kPrefixBytes + 2, sizeof(ban.reason));
  ban.times = bytes[kPrefixBytes];
  ban.automatic = bytes[kPrefixBytes + 1] != 0;
  access()->restore(ban);
}

// (part, parts) -> those that hold, or are over but not forgotten, of one of so many parts; kBanBytes each
Napi::Value EngineWrap::bans(const Napi::CallbackInfo& info) {
  const size_t parts = (std::min)((std::max)(size_t{uint32_of(info[1])}, size_t{1}), BanList::kParts);
  const size_t first = uint32_of(info[0]) * BanList::kParts / parts;
  const size_t end = (uint32_of(info[0]) + size_t{1}) * BanList::kParts / parts;
  const std::vector<AccessControl::KnownBan> all =
      access() == nullptr ? std::vector<AccessControl::KnownBan>() : access()->bans(first, end - first);
  Napi::Uint8Array bytes = Napi::Uint8Array::New(info.Env(), all.size() * kBanBytes);
  if (bytes.IsEmpty()) return info.Env().Undefined();
  uint8_t* to = bytes.Data();
  for (const AccessControl::KnownBan& ban : all) {
    write_address(ban.prefix.address, to);
    to[kAddressBytes] = static_cast<uint8_t>(ban.prefix.bits);
    to[kPrefixBytes] = ban.times;
    to[kPrefixBytes + 1] = ban.automatic ? 1 : 0;
    std::memcpy(to + kPrefixBytes + 2, &ban.reason, sizeof(ban.reason));
    const double left = ban.left_ms == AccessControl::kForEver ? std::numeric_limits<double>::infinity()
                                                               : static_cast<double>(ban.left_ms);
    std::memcpy(to + kPrefixBytes + 4, &left, sizeof(left));
    to += kBanBytes;
  }
  return bytes;
}

// (address) -> why it would be refused, the number of a Refusal; none when it would not
Napi::Value EngineWrap::test_access(const Napi::CallbackInfo& info) {
  const uint8_t* address = nullptr;
  size_t count = 0;
  Refusal refusal = Refusal::none;
  if (access() != nullptr && bytes_of(info[0], kAddressBytes, &address, &count) && count == 1) {
    refusal = access()->test(IpAddress::v6(address));
  }
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(refusal));
}

}  // namespace iocp
