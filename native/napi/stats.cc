#include "napi/stats.h"

#include "napi/args.h"

namespace iocp {
namespace {

Napi::Number number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

Napi::Object describe_pool(Napi::Env env, const PoolStats& stats) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("inUse", number(env, stats.in_use));
  result.Set("free", number(env, stats.free));
  result.Set("peak", number(env, stats.peak));
  result.Set("allocations", number(env, stats.allocations));
  return result;
}

Napi::Object describe_histogram(Napi::Env env, const Histogram& histogram) {
  HistogramSnapshot snapshot;
  histogram.merge_into(&snapshot);
  Napi::Object result = Napi::Object::New(env);
  result.Set("count", number(env, snapshot.count));
  result.Set("mean", Napi::Number::New(env, snapshot.mean()));
  result.Set("p50", number(env, snapshot.percentile(50)));
  result.Set("p90", number(env, snapshot.percentile(90)));
  result.Set("p99", number(env, snapshot.percentile(99)));
  result.Set("max", number(env, snapshot.max));
  return result;
}

Napi::Object describe_counters(Napi::Env env, const Counters& counters) {
  Napi::Object result = Napi::Object::New(env);
  for (size_t i = 0; i < kCounterCount; ++i) {
    result.Set(kCounterNames[i], number(env, counters.sum(static_cast<Counter>(i))));
  }
  return result;
}

Napi::Object describe_access(Napi::Env env, AccessControl& access) {
  Napi::Object result = Napi::Object::New(env);
  const AccessTable::Totals totals = access.totals();
  constexpr const char* kNames[] = {"denied",       "banned",      "maxConnections", "maxPerAddress",
                                    "maxPerSubnet", "connectRate", "proxyHeader",    "proxyTimeout"};
  static_assert(sizeof(kNames) / sizeof(kNames[0]) == kRefusalCount, "a name for each Refusal");
  Napi::Object refused = Napi::Object::New(env);
  for (size_t i = 0; i < kRefusalCount; ++i) refused.Set(kNames[i], number(env, totals.refused[i]));
  result.Set("refused", refused);
  result.Set("connections", number(env, totals.connections));
  result.Set("addresses", number(env, totals.addresses));
  result.Set("subnets", number(env, totals.subnets));
  result.Set("rates", number(env, totals.rates));
  result.Set("bans", number(env, totals.bans));
  result.Set("bytes", number(env, totals.bytes));
  result.Set("evictions", number(env, totals.evictions));
  return result;
}

// Those that have occurred.
Napi::Object describe_proxy_errors(Napi::Env env, const ProxyPreamble::ErrorCounts& errors) {
  Napi::Object result = Napi::Object::New(env);
  const auto add = [&](const char* name, ProxyError error) {
    const uint64_t count = errors[static_cast<size_t>(error)].load(std::memory_order_relaxed);
    if (count != 0) result.Set(camel_case(name), number(env, count));
  };
#define IOCP_ADD(name, value) add(#name, ProxyError::name);
  IOCP_PROXY_ERRORS(IOCP_ADD)
#undef IOCP_ADD
  return result;
}

}  // namespace

Napi::Object describe_engine(Napi::Env env, Engine& engine) {
  Napi::Object result = Napi::Object::New(env);
  const Engine::Totals totals = engine.totals();
  Napi::Object connections = Napi::Object::New(env);
  connections.Set("now", number(env, totals.connections));
  connections.Set("peak", number(env, totals.peak_connections));
  connections.Set("total", number(env, totals.total_connections));
  result.Set("connections", connections);

  Napi::Array listeners = Napi::Array::New(env);
  for (uint32_t i = 0; const Listener* listener = engine.listener(i); ++i) {
    Napi::Object item = Napi::Object::New(env);
    item.Set("pendingAccepts", number(env, listener->outstanding()));
    item.Set("acceptPool", number(env, listener->pool_size()));
    if (const ProxyPreamble::ErrorCounts* errors = listener->proxy_errors()) {
      item.Set("unannounced", number(env, listener->preambles()));
      item.Set("proxyErrors", describe_proxy_errors(env, *errors));
    }
    item.Set("admission", Napi::String::New(env, listener->is_conditional() ? "conditional" : "accepted"));
    listeners.Set(i, item);
  }
  result.Set("listeners", listeners);

  const Delivery::Depth depth = engine.delivery().depth();
  Napi::Object delivery = Napi::Object::New(env);
  delivery.Set("bytes", number(env, depth.bytes));
  delivery.Set("peakBytes", number(env, depth.peak_bytes));
  delivery.Set("parked", number(env, depth.parked));
  delivery.Set("timesParked", number(env, depth.times_parked));
  delivery.Set("batchRecords", describe_histogram(env, engine.batch_records()));
  delivery.Set("latencyMicroseconds", describe_histogram(env, engine.delivery_latency_us()));
  result.Set("delivery", delivery);

  const SendQueue::Totals queued = engine.queued();
  Napi::Object sending = Napi::Object::New(env);
  sending.Set("queuedBytes", number(env, queued.bytes));
  sending.Set("queuedPackets", number(env, queued.packets));
  result.Set("sending", sending);

  Napi::Object pools = Napi::Object::New(env);
  pools.Set("readBuffers", describe_pool(env, engine.read_buffer_stats()));
  pools.Set("waitBuffers", describe_pool(env, engine.wait_buffer_stats()));
  pools.Set("contexts", describe_pool(env, engine.context_stats()));
  result.Set("pools", pools);

  const DiskPool::Stats disk_stats = engine.disk().stats();
  Napi::Object disk = Napi::Object::New(env);
  disk.Set("threads", number(env, disk_stats.threads));
  disk.Set("running", number(env, disk_stats.running));
  disk.Set("queued", number(env, disk_stats.queued));
  result.Set("disk", disk);

  result.Set("pendingObjects", number(env, totals.active));
  result.Set("pendingDirectReads", number(env, totals.direct_reads));
  result.Set("profiles", number(env, totals.profiles));
  result.Set("skipOnSuccess", Napi::Boolean::New(env, engine.skips_on_success()));
  result.Set("counters", describe_counters(env, engine.counters()));
  if (AccessControl* access = engine.access()) result.Set("access", describe_access(env, *access));
  return result;
}

Napi::Object describe_jobs(Napi::Env env, JobHub& hub) {
  Napi::Object result = Napi::Object::New(env);
  const JobHub::Totals totals = hub.totals();
  result.Set("size", number(env, totals.now.size));
  result.Set("idle", number(env, totals.now.idle));
  result.Set("queued", number(env, totals.now.queued));
  result.Set("queuedBytes", number(env, totals.now.bytes));
  result.Set("running", number(env, totals.now.running));
  result.Set("completed", number(env, totals.completed));
  result.Set("failed", number(env, totals.failed));
  result.Set("skipped", number(env, totals.skipped));
  result.Set("rejected", number(env, totals.rejected));
  result.Set("unreportedFailures", number(env, totals.unreported));
  result.Set("waitMicroseconds", describe_histogram(env, hub.wait_us()));
  result.Set("runMicroseconds", describe_histogram(env, hub.run_us()));
  return result;
}

Napi::Object describe_connection(Napi::Env env, Connection& connection) {
  Napi::Object result = Napi::Object::New(env);
  const ConnectionStats stats = connection.stats();
  result.Set("bytesRead", number(env, stats.bytes_read));
  result.Set("bytesWritten", number(env, stats.bytes_written));
  result.Set("packetsRead", number(env, stats.packets_read));
  result.Set("packetsWritten", number(env, stats.packets_written));
  result.Set("queuedBytes", number(env, stats.queued_bytes));
  result.Set("queuedPackets", number(env, stats.queued_packets));
  return result;
}

}  // namespace iocp
