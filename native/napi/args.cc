#include "napi/args.h"

#include <utility>
#include <vector>

namespace iocp {
namespace {

constexpr uint64_t kMaxInteger = 9007199254740991;  // Number.MAX_SAFE_INTEGER, "never" for sizes

uint64_t size_of(ArgumentReader& reader, const char* name) {
  const uint64_t size = reader.number(name, 0, kMaxInteger);
  return size == kMaxInteger ? FramingOptions::never : size;
}

OnOversize on_oversize(ArgumentReader& reader) {
  const std::string text = reader.text("onOversize");
  if (text != "close" && text != "discard") reader.fail("onOversize");
  return text == "discard" ? OnOversize::discard : OnOversize::close;
}

void read_delimiters(ArgumentReader& reader, FramingOptions* out) {
  const Napi::Value value = reader.get("delimiters");
  if (!value.IsArray()) return reader.fail("delimiters");
  const Napi::Array list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value item = list.Get(i);
    if (!item.IsTypedArray()) return reader.fail("delimiters");
    const Napi::Uint8Array bytes = item.As<Napi::Uint8Array>();
    out->delimiters.emplace_back(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
  }
}

// What the kinds with a length in their header have in common.
void read_bounded(ArgumentReader& reader, FramingOptions* out) {
  out->max_packet = size_of(reader, "maxPacket");
  out->fail_fast = reader.boolean("failFast");
  out->type_byte = reader.boolean("typeByte");
  out->on_oversize = on_oversize(reader);
  if (reader.has("streamAbove")) out->stream_above = size_of(reader, "streamAbove");
}

std::shared_ptr<const Framing> read_framing(Napi::Env env, Napi::Value value, ArgumentReader& parent) {
  ArgumentReader reader(env, value);
  FramingOptions options;
  const std::string kind = reader.text("kind");
  if (kind == "lengthField") {
    options.kind = FramingKind::length_field;
    options.offset = static_cast<uint32_t>(reader.number("offset", 0, FramingOptions::max_header));
    options.bytes = static_cast<uint32_t>(reader.number("bytes", 1, 8));
    options.endian = reader.text("endian") == "little" ? Endian::little : Endian::big;
    options.adjustment = reader.signed_number("adjustment", INT32_MIN, INT32_MAX);
    options.strip = static_cast<uint32_t>(reader.number("strip", 0, FramingOptions::max_header));
    options.iocps_files = reader.has("iocpsFiles") && reader.boolean("iocpsFiles");
    read_bounded(reader, &options);
  } else if (kind == "delimiter") {
    options.kind = FramingKind::delimiter;
    read_delimiters(reader, &options);
    options.strip_delimiter = reader.boolean("strip");
    read_bounded(reader, &options);
  } else if (kind == "fixed") {
    options.kind = FramingKind::fixed;
    options.fixed_bytes = reader.number("bytes", 1, kMaxInteger);
    options.max_packet = options.fixed_bytes;
    options.type_byte = reader.has("typeByte") && reader.boolean("typeByte");
  } else if (kind == "raw") {
    options.kind = FramingKind::raw;
    options.max_packet = FramingOptions::max_whole_packet;
  } else if (kind == "varint") {
    options.kind = FramingKind::varint;
    if (reader.has("bytes")) {
      options.varint_bytes = static_cast<uint32_t>(reader.number("bytes", 5, 10));
    }
    read_bounded(reader, &options);
  } else if (kind == "hpSocketPack") {
    options.kind = FramingKind::hp_socket_pack;
    options.flag = static_cast<uint32_t>(reader.number("flag", 0, 1023));
    read_bounded(reader, &options);
  } else {
    reader.fail("kind");
  }
  parent.adopt_error(reader);
  if (!parent.ok()) return nullptr;
  std::string error;
  std::shared_ptr<const Framing> framing = make_framing(options, &error);
  if (framing == nullptr) parent.fail("framing: " + error);
  return framing;
}

void read_rate(Napi::Env env, ArgumentReader& parent, const char* name, RateLimit* out) {
  if (!parent.has(name)) return;
  ArgumentReader reader(env, parent.get(name));
  out->count = static_cast<uint32_t>(reader.number("count", 1, UINT32_MAX));
  out->per_ms = static_cast<uint32_t>(reader.number("per", 1, TokenBucket::kMostPerMs));
  out->burst = static_cast<uint32_t>(reader.number("burst", 1, UINT32_MAX));
  const std::string action = reader.text("onExceed");
  out->on_exceed = action == "drop"    ? OnExceed::drop
                   : action == "close" ? OnExceed::close
                   : action == "ban"   ? OnExceed::ban
                                       : OnExceed::pause;
  parent.adopt_error(reader);
}

std::shared_ptr<const ProxyRules> read_proxy_rules(Napi::Env env, Napi::Value value, ArgumentReader& parent) {
  auto rules = std::make_shared<ProxyRules>();
  ArgumentReader reader(env, value);
  rules->from = reader.prefixes("from");
  rules->direct = reader.boolean("direct");
  rules->decoder.version1 = reader.boolean("version1");
  rules->decoder.version2 = reader.boolean("version2");
  rules->decoder.max_size = static_cast<uint32_t>(reader.number("maxHeader", kProxyMinLimit, kProxyMaxSize));
  rules->timeout_ms = static_cast<uint32_t>(reader.number("timeout", 1, INT32_MAX));
  parent.adopt_error(reader);
  return rules;
}

// Undefined: that of the socket.
Address read_endpoint(Napi::Env env, const char* name, ArgumentReader& parent) {
  Address address;
  if (!parent.has(name)) return address;
  ArgumentReader reader(env, parent.get(name));
  const uint16_t port = static_cast<uint16_t>(reader.number("port", 0, 65535));
  if (!Address::parse(reader.text("address"), port, &address)) reader.fail("address");
  parent.adopt_error(reader);
  return address;
}

std::shared_ptr<const ProxySend> read_proxy_send(Napi::Env env, Napi::Value value, ArgumentReader& parent) {
  auto send = std::make_shared<ProxySend>();
  ArgumentReader reader(env, value);
  send->header.version = static_cast<uint8_t>(reader.number("version", 1, 2));
  send->header.command = reader.boolean("local") ? ProxyCommand::local : ProxyCommand::proxy;
  send->source = read_endpoint(env, "source", reader);
  send->destination = read_endpoint(env, "destination", reader);
  send->checksum = reader.boolean("checksum");
  const uint8_t* tlvs = nullptr;
  size_t size = 0;
  if (!bytes_of(reader.get("tlvs"), 1, &tlvs, &size)) reader.fail("tlvs");
  send->header.tlvs.assign(tlvs, tlvs + size);
  parent.adopt_error(reader);
  return send;
}

}  // namespace

// Numbers in the sequence of lib/connection/limits.ts.
bool read_time_limits(const Napi::Value& value, TimeLimits* out) {
  uint32_t* const fields[] = {&out->first_packet,   &out->packet,     &out->idle_read,      &out->idle_write,
                              &out->idle_both,      &out->send_stall, &out->min_rate_bytes, &out->min_rate_per,
                              &out->min_rate_grace, &out->life,       &out->life_end};
  constexpr size_t kCount = sizeof(fields) / sizeof(fields[0]);
  if (!value.IsObject()) return false;
  const Napi::Object list = value.As<Napi::Object>();
  for (uint32_t i = 0; i <= kCount; ++i) {
    const Napi::Value number = list.Get(i);
    const uint64_t most = i < kCount && fields[i] == &out->min_rate_bytes ? UINT32_MAX : TimeLimits::kLongest;
    const uint64_t given = whole_number(number);
    if (!number.IsNumber() || given > most) return false;
    if (i < kCount) {
      *fields[i] = static_cast<uint32_t>(given);
    } else {
      out->idle_closes = given != 0;
    }
  }
  return true;
}

ArgumentReader::ArgumentReader(Napi::Env env, Napi::Value value) : env_(env) {
  if (value.IsObject()) {
    object_ = value.As<Napi::Object>();
  } else {
    error_ = "an object is expected";
    object_ = Napi::Object::New(env);
  }
}

bool ArgumentReader::finish() const {
  if (ok()) return true;
  Napi::TypeError::New(env_, "iocp addon: wrong argument: " + error_).ThrowAsJavaScriptException();
  return false;
}

Napi::Value ArgumentReader::get(const char* name) const { return object_.Get(name); }

bool ArgumentReader::has(const char* name) const {
  const Napi::Value value = object_.Get(name);
  return !value.IsUndefined() && !value.IsNull();
}

void ArgumentReader::fail(const std::string& what) {
  if (error_.empty()) error_ = what;
}

void ArgumentReader::adopt_error(const ArgumentReader& other) { fail(other.error_); }

int64_t ArgumentReader::signed_number(const char* name, int64_t least, int64_t most) {
  const Napi::Value value = object_.Get(name);
  if (!value.IsNumber()) {
    fail(name);
    return least;
  }
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most))) {
    fail(name);
    return least;
  }
  return static_cast<int64_t>(number);
}

uint64_t ArgumentReader::number(const char* name, uint64_t least, uint64_t most) {
  return static_cast<uint64_t>(signed_number(name, static_cast<int64_t>(least), static_cast<int64_t>(most)));
}

bool ArgumentReader::boolean(const char* name) {
  const Napi::Value value = object_.Get(name);
  if (!value.IsBoolean()) {
    fail(name);
    return false;
  }
  return value.As<Napi::Boolean>().Value();
}

std::string ArgumentReader::text(const char* name) {
  const Napi::Value value = object_.Get(name);
  if (!value.IsString()) {
    fail(name);
    return {};
  }
  return value.As<Napi::String>().Utf8Value();
}

PrefixSet ArgumentReader::prefixes(const char* name) {
  const uint8_t* data = nullptr;
  size_t count = 0;
  if (!bytes_of(get(name), kPrefixBytes, &data, &count)) {
    fail(name);
    return {};
  }
  std::vector<IpPrefix> list;
  list.reserve(count);
  for (size_t i = 0; i < count; ++i) list.push_back(prefix_from(data + i * kPrefixBytes));
  return PrefixSet(list);
}

std::string camel_case(const char* name) {
  std::string result;
  bool upper = false;
  for (; *name != '\0'; ++name) {
    if (*name == '_') {
      upper = true;
      continue;
    }
    result += upper ? static_cast<char>(*name - 'a' + 'A') : *name;
    upper = false;
  }
  return result;
}

IpPrefix prefix_from(const uint8_t* bytes) { return IpPrefix::of(IpAddress::v6(bytes), bytes[kAddressBytes]); }

bool bytes_of(const Napi::Value& value, size_t item, const uint8_t** data, size_t* count) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) return false;
  const Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  *data = bytes.Data();
  *count = bytes.ByteLength() / item;
  return bytes.ByteLength() % item == 0;
}

uint32_t uint32_of(const Napi::Value& value) {
  uint32_t number = 0;
  return napi_get_value_uint32(value.Env(), value, &number) == napi_ok ? number : 0;
}

uint64_t whole_number(const Napi::Value& value) {
  int64_t number = 0;
  if (napi_get_value_int64(value.Env(), value, &number) != napi_ok) return 0;
  return number < 0 ? 0 : static_cast<uint64_t>(number);
}

bool boolean_of(const Napi::Value& value) {
  bool is = false;
  return napi_get_value_bool(value.Env(), value, &is) == napi_ok && is;
}

std::string text_of(const Napi::Value& value) {
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

bool read_engine_options(Napi::Env env, Napi::Value value, EngineOptions* out, bool* external_memory) {
  ArgumentReader reader(env, value);
  out->io_threads = static_cast<uint32_t>(reader.number("ioThreads", 1, 64));
  out->disk_threads = static_cast<uint32_t>(reader.number("diskThreads", 1, 64));
  out->delivery.total = reader.number("deliveryBytes", 1, kMaxInteger);
  out->delivery.per_connection = reader.number("deliveryPerConnection", 1, kMaxInteger);
  out->max_free_buffers = reader.signed_number("maxFreeBuffers", -1, INT32_MAX);
  out->max_free_contexts = reader.signed_number("maxFreeContexts", -1, INT32_MAX);
  out->skip_on_success = reader.boolean("skipOnSuccess");
  *external_memory = reader.boolean("externalMemory");
  return reader.finish();
}

bool read_profile(Napi::Env env, Napi::Value value, Profile* out) {
  ArgumentReader reader(env, value);
  const auto number = [&](const char* name, uint64_t least, uint64_t most) {
    return static_cast<uint32_t>(reader.number(name, least, most));
  };
  out->receive = read_framing(env, reader.get("receive"), reader);
  out->send = read_framing(env, reader.get("send"), reader);
  const std::string mode = reader.text("readMode");
  out->read_mode = mode == "direct" ? ReadMode::direct : mode == "zero-byte" ? ReadMode::zero_byte : ReadMode::adaptive;
  out->pending_reads = number("pendingReads", 1, 64);
  out->high_water = reader.number("highWater", 0, kMaxInteger);
  out->low_water = reader.number("lowWater", 0, kMaxInteger);
  out->hard_cap = reader.number("hardCap", 0, kMaxInteger);
  out->hard_cap_packets = number("hardCapPackets", 1, UINT32_MAX);
  const std::string overflow = reader.text("onOverflow");
  out->on_overflow = overflow == "drop-newest"   ? OverflowPolicy::drop_newest
                     : overflow == "drop-oldest" ? OverflowPolicy::drop_oldest
                     : overflow == "close"       ? OverflowPolicy::close
                                                 : OverflowPolicy::queue;
  read_rate(env, reader, "packetRate", &out->packet_rate);
  read_rate(env, reader, "byteRate", &out->byte_rate);
  if (!read_time_limits(reader.get("timeLimits"), &out->time_limits)) reader.fail("timeLimits");
  out->no_delay = reader.boolean("noDelay");
  out->demand = reader.boolean("demand");
  out->transfers = reader.has("transfers") && reader.boolean("transfers");
  out->keep_alive_ms = number("keepAlive", 0, UINT32_MAX);
  out->keep_alive_interval_ms = number("keepAliveInterval", 0, UINT32_MAX);
  out->keep_alive_count = number("keepAliveCount", 0, 255);
  out->receive_buffer = number("receiveBuffer", 0, INT32_MAX);
  out->send_buffer = number("sendBuffer", 0, INT32_MAX);
  out->type_of_service = number("typeOfService", 0, 255);
  return reader.finish();
}

bool read_job_options(Napi::Env env, Napi::Value value, JobHubOptions* out) {
  ArgumentReader reader(env, value);
  out->limits.max_queued = static_cast<uint32_t>(reader.number("maxQueued", 1, 1u << 20));
  out->limits.max_bytes = reader.number("maxQueuedBytes", 1, kMaxInteger);
  out->limits.ordered = reader.boolean("ordered");
  out->priority = job_priority(static_cast<uint32_t>(reader.number("priority", 0, 2)));
  out->reject = reader.boolean("reject");
  out->skip_when_closed = reader.boolean("skipWhenClosed");
  out->routes.all = reader.boolean("routeAll");
  const Napi::Value route = reader.get("route");
  if (!route.IsTypedArray()) {
    reader.fail("route");
  } else {
    const Napi::Uint8Array types = route.As<Napi::Uint8Array>();
    for (size_t i = 0; i < types.ByteLength(); ++i) out->routes.types[types.Data()[i]] = true;
  }
  return reader.finish();
}

JobPriority job_priority(uint32_t number) {
  return number == 0 ? JobPriority::high : number == 2 ? JobPriority::low : JobPriority::normal;
}

bool read_listen_options(Napi::Env env, Napi::Value value, const Engine& engine, ListenOptions* out) {
  ArgumentReader reader(env, value);
  const uint16_t port = static_cast<uint16_t>(reader.number("port", 0, 65535));
  if (!Address::parse(reader.text("address"), port, &out->address)) reader.fail("address");
  out->dual_stack = reader.boolean("dualStack");
  out->exclusive = reader.boolean("exclusive");
  out->backlog = static_cast<uint32_t>(reader.number("backlog", 0, INT32_MAX));
  out->accepts = static_cast<uint32_t>(reader.number("pendingAccepts", 1, 1024));
  out->max_connections = static_cast<uint32_t>(reader.number("maxConnections", 0, UINT32_MAX));
  const std::string on_max = reader.text("onMax");
  out->on_max = on_max == "stop-accepting" ? OnMax::stop_accepting : on_max == "close" ? OnMax::close : OnMax::reset;
  out->conditional = reader.boolean("conditional");
  out->profile = engine.profile(static_cast<uint32_t>(reader.number("profile", 0, UINT32_MAX)));
  if (!out->profile) reader.fail("profile");
  if (reader.has("proxy")) out->proxy = read_proxy_rules(env, reader.get("proxy"), reader);
  return reader.finish();
}

bool read_connect_options(Napi::Env env, Napi::Value value, const Engine& engine, ConnectOptions* out) {
  ArgumentReader reader(env, value);
  const uint16_t port = static_cast<uint16_t>(reader.number("port", 0, 65535));
  if (!Address::parse(reader.text("address"), port, &out->remote)) reader.fail("address");
  if (reader.has("localAddress") || reader.has("localPort")) {
    const uint16_t local_port =
        reader.has("localPort") ? static_cast<uint16_t>(reader.number("localPort", 0, 65535)) : 0;
    if (!reader.has("localAddress")) {
      out->local = Address::any(out->remote.family(), local_port);
    } else if (!Address::parse(reader.text("localAddress"), local_port, &out->local) ||
               out->local.family() != out->remote.family()) {
      reader.fail("localAddress");
    }
  }
  out->token = static_cast<uint32_t>(reader.number("token", 0, UINT32_MAX));
  out->timeout_ms = static_cast<uint32_t>(reader.number("timeout", 0, UINT32_MAX));
  out->profile = engine.profile(static_cast<uint32_t>(reader.number("profile", 0, UINT32_MAX)));
  if (!out->profile) reader.fail("profile");
  if (reader.has("proxy")) out->proxy = read_proxy_send(env, reader.get("proxy"), reader);
  return reader.finish();
}

}  // namespace iocp
