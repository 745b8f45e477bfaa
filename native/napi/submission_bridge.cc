#include "napi/submission_bridge.h"

#include <cstring>
#include <utility>

namespace iocp {
namespace {

// Keeps a caller's buffer alive and in place while it is being sent. Created on the JavaScript thread;
// the last count may fall on any thread, the reference goes back to the JavaScript thread.
class PinnedOwner final : public SendBuffer {
 public:
  PinnedOwner(std::shared_ptr<DeliveryBridge> bridge, napi_ref pin) : bridge_(std::move(bridge)), pin_(pin) {}

 private:
  void destroy() override {
    bridge_->release_pin(pin_);
    delete this;
  }
  const std::shared_ptr<DeliveryBridge> bridge_;
  napi_ref pin_;
};

}  // namespace

SubmissionBridge::SubmissionBridge(Napi::Env env, std::shared_ptr<DeliveryBridge> delivery)
    : delivery_(std::move(delivery)) {
  make_arrays(env);
}

SubmissionBridge::SubmissionBridge(Napi::Env env, WorkerSide worker) : worker_(worker) { make_arrays(env); }

void SubmissionBridge::make_arrays(Napi::Env env) {
  const Napi::Uint32Array control = Napi::Uint32Array::New(env, kMaxOperations * kOperationWords);
  const Napi::Uint8Array payload = Napi::Uint8Array::New(env, kPayloadBytes);
  words_ = control.Data();
  bytes_ = payload.Data();
  control_ = Napi::Persistent(control);
  payload_ = Napi::Persistent(payload);
  control_.SuppressDestruct();
  payload_.SuppressDestruct();
}

void SubmissionBridge::close() {
  control_.Reset();
  payload_.Reset();
  words_ = nullptr;
  bytes_ = nullptr;
}

bool SubmissionBridge::submit(Napi::Env env, Engine* engine, uint32_t operations, Napi::Value pinned) {
  if (words_ == nullptr || operations > kMaxOperations) return false;
  bool ok = true;
  for (uint32_t i = 0; i < operations; ++i) {
    Operation operation;
    std::memcpy(&operation, words_ + i * kOperationWords, sizeof(operation));
    // Whatever is wrong with one, those behind it are other connections'.
    if (!carry_out(env, engine, operation, pinned)) ok = false;
  }
  forget_shared();
  engine->schedule_all(&ready_);
  engine->wake_if_needed();  // outcomes that were known at once
  return ok;
}

bool SubmissionBridge::carry_out(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned) {
  const ConnectionId id{operation.slot, operation.generation};
  const auto with = [&](auto&& f) {
    engine->with_connection(id, f);  // a stale id is a clean miss
    return true;
  };
  const bool is_worker = worker_.hub != nullptr;
  switch (static_cast<OperationKind>(operation.kind)) {
    case OperationKind::send:
    case OperationKind::send_pinned:
      return send(env, engine, operation, pinned);
    case OperationKind::broadcast:
    case OperationKind::broadcast_pinned:
      return broadcast(env, engine, operation, pinned);
    case OperationKind::job_done:
    case OperationKind::job_done_pinned:
      return is_worker && job_done(env, engine, operation, pinned);
    case OperationKind::end:
      return with([&](Connection& c) { c.request_end(CloseCause::local, operation.a); });
    case OperationKind::destroy:
      return with([&](Connection& c) {
        c.request_close(operation.a == 0 ? CloseCause::local : static_cast<CloseCause>(operation.a),
                        Connection::kDestroy);
      });
    case OperationKind::reset:
      return with([&](Connection& c) {
        c.request_close(operation.a == 0 ? CloseCause::local : static_cast<CloseCause>(operation.a),
                        Connection::kReset);
      });
    // What is left is of the engine's own environment: reading belongs to whoever listens there.
    case OperationKind::pause:
      return !is_worker && with([](Connection& c) {
        c.receiver().pause();
        // Its strand notes that no time counts from now on.
        if (c.watch() != nullptr) c.request(Connection::kReceive);
      });
    case OperationKind::resume:
      return !is_worker && with([](Connection& c) { c.receiver().resume(); });
    case OperationKind::demand:
      return !is_worker && with([&](Connection& c) { c.receiver().demand(operation.a); });
    case OperationKind::set_framing: {
      if (is_worker) return false;
      const ProfileRef profile = engine->profile(operation.a);
      return profile && with([&](Connection& c) { c.set_framing(profile); });
    }
    case OperationKind::free_profile:
      return !is_worker && engine->free_profile(operation.a);
    case OperationKind::want_drain:
      return !is_worker && with([](Connection& c) { c.sender().want_drain(); });
  }
  return false;
}

bool SubmissionBridge::send(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned) {
  const bool repeated = shared_.kind == operation.kind && shared_.place == operation.a && shared_.size == operation.b;
  uint32_t token = operation.c;
  switch (locate(env, operation, pinned, repeated)) {
    case Located::found:
      break;
    case Located::detached:
      tell_detached(engine, operation, token);
      return true;
    case Located::malformed:
      return false;
  }
  if (worker_.hub != nullptr) {
    // A worker's reply names its job: one that has been settled meanwhile answers no more.
    if (token != 0 && !worker_.hub->runs(worker_.slot, token - 1)) return true;
    token = 0;
  }
  const ConnectionId id{operation.slot, operation.generation};
  const bool found = engine->with_connection(id, [&](Connection& connection) { push(connection, repeated, token); });
  if (!found && token != 0) engine->report_sent(id, token, SendOutcome::closed);
  return true;
}

// The memory of a payload was transferred or resized between the send and its submission. That packet is gone; its
// sender is told, and nobody else is concerned.
void SubmissionBridge::tell_detached(Engine* engine, const Operation& operation, uint32_t token) {
  const ConnectionId id{operation.slot, operation.generation};
  const bool is_own = worker_.hub == nullptr;
  const bool found = engine->with_connection(
      id, [&](Connection& connection) { connection.sender().report_lost(operation.b, SendOutcome::detached); });
  if (is_own && token != 0) engine->report_sent(id, token, found ? SendOutcome::detached : SendOutcome::closed);
}

// To one connection, what shared_ refers to; `shared`: others get it too.
void SubmissionBridge::push(Connection& connection, bool shared, uint32_t token) {
  const bool is_pinned = shared_.owner != nullptr && !shared_.profile;
  if (is_pinned) {
    shared_.owner->add_ref();
    connection.sender().push(shared_.payload, shared_.owner, token, &ready_);
    return;
  }
  while (shared && encode_shared(connection)) {
    shared_.owner->add_ref();
    if (connection.sender().push_encoded(shared_.profile->send.get(), shared_.encoded, shared_.owner, token, &ready_) !=
        Sender::PushResult::reframe) {
      return;
    }
    shared_.owner->release();  // its framing has just changed
  }
  connection.sender().push(shared_.payload, nullptr, token, &ready_);
}

bool SubmissionBridge::broadcast(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned) {
  const Located located = locate(env, operation, pinned, false);
  if (located == Located::malformed) return false;
  const ConnectionId except{operation.slot, operation.generation};
  engine->for_each_connection([&](Connection& connection) {
    const ConnectionId id = connection.id();
    if (id == except || !connection.is_announced()) return;
    if (located == Located::found) {
      push(connection, true, 0);
    } else {
      tell_detached(engine, {operation.kind, id.slot, id.generation, operation.a, operation.b, 0}, 0);
    }
  });
  return true;
}

bool SubmissionBridge::job_done(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned) {
  const Located located = locate(env, operation, pinned, false);
  if (located == Located::malformed) return false;
  if (operation.generation > static_cast<uint32_t>(JobOutcome::no_workers)) return false;
  // It may have let go of that job before: an end and a wish to give the job up cross.
  const bool is_whole = located == Located::found;
  worker_.hub->complete(*engine, worker_.slot, operation.slot,
                        is_whole ? static_cast<JobOutcome>(operation.generation) : JobOutcome::failed,
                        is_whole ? shared_.payload.data : nullptr, is_whole ? shared_.payload.size : 0);
  return true;
}

// Makes shared_ what this operation refers to.
SubmissionBridge::Located SubmissionBridge::locate(Napi::Env env, const Operation& operation, Napi::Value pinned,
                                                   bool repeated) {
  if (repeated) return Located::found;
  forget_shared();
  const OperationKind kind = static_cast<OperationKind>(operation.kind);
  if (kind == OperationKind::send || kind == OperationKind::broadcast || kind == OperationKind::job_done) {
    if (operation.a > kPayloadBytes || operation.b > kPayloadBytes - operation.a) return Located::malformed;
    shared_.payload = {bytes_ + operation.a, operation.b};
  } else {
    if (!pinned.IsArray()) return Located::malformed;
    const Napi::Value item = pinned.As<Napi::Array>().Get(operation.a);
    if (!item.IsTypedArray()) return Located::malformed;
    const Napi::Uint8Array bytes = item.As<Napi::Uint8Array>();
    if (operation.b > bytes.ByteLength()) return Located::detached;
    if (delivery_ != nullptr) {
      napi_ref pin = nullptr;
      if (napi_create_reference(env, bytes, 1, &pin) != napi_ok) return Located::malformed;
      shared_.owner = new PinnedOwner(delivery_, pin);
    }
    shared_.payload = {bytes.Data(), operation.b};
  }
  shared_.kind = operation.kind;
  shared_.place = operation.a;
  shared_.size = operation.b;
  return Located::found;
}

// Makes shared_.encoded the payload as the connection's framing puts it on the wire. False when it does not fit.
bool SubmissionBridge::encode_shared(Connection& connection) {
  if (shared_.owner != nullptr && shared_.profile->send.get() == connection.sender().framing()) return true;
  const ProfileRef profile = connection.send_profile();
  const Framing* const framing = profile->send.get();
  const ByteSpan payload = shared_.payload;
  FrameEnvelope envelope;
  if (!framing->wrap(payload.data, payload.size, &envelope)) return false;
  if (shared_.owner != nullptr) shared_.owner->release();
  const size_t size = envelope.header_size + payload.size + envelope.trailer_size;
  SendBlock* block = SendBlock::create(size);
  uint8_t* at = block->grow(size);
  const auto put = [&at](const uint8_t* data, size_t bytes) {
    if (bytes != 0) std::memcpy(at, data, bytes);
    at += bytes;
  };
  put(envelope.header, envelope.header_size);
  put(payload.data, payload.size);
  put(envelope.trailer, envelope.trailer_size);
  shared_.profile = profile;
  shared_.encoded = {block->data(), size};
  shared_.owner = block;
  return true;
}

void SubmissionBridge::forget_shared() {
  if (shared_.owner != nullptr) shared_.owner->release();
  shared_ = Shared{};
}

}  // namespace iocp
