#include "napi/submission_bridge.h"

#include <cstring>
#include <utility>

namespace iocp {
namespace {

// Keeps a caller's buffer alive and in place while it is being sent. Created on the JavaScript thread;
// the last count may fall on any thread, the reference goes back to the JavaScript thread.
class PinnedOwner final : public SendOwner {
 public:
  PinnedOwner(std::shared_ptr<DeliveryBridge> bridge, napi_ref pin)
      : bridge_(std::move(bridge)), pin_(pin) {}

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

bool SubmissionBridge::submit(Napi::Env env, Engine* engine, uint32_t operations,
                              Napi::Value pinned) {
  if (words_ == nullptr || operations > kMaxOperations) return false;
  bool ok = true;
  for (uint32_t i = 0; ok && i < operations; ++i) {
    Operation operation;
    std::memcpy(&operation, words_ + i * kOperationWords, sizeof(operation));
    ok = carry_out(env, engine, operation, pinned);
  }
  forget_shared();
  engine->schedule_all(&ready_);
  engine->wake_if_needed();  // outcomes that were known at once
  return ok;
}

bool SubmissionBridge::carry_out(Napi::Env env, Engine* engine, const Operation& operation,
                                 Napi::Value pinned) {
  const ConnectionId id{operation.slot, operation.generation};
  const auto with = [&](auto&& f) {
    engine->with_connection(id, f);  // a stale id is a clean miss
    return true;
  };
  switch (static_cast<OperationKind>(operation.kind)) {
    case OperationKind::send:
    case OperationKind::send_pinned:
      return send(env, engine, operation, pinned);
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
    case OperationKind::pause:
      return with([](Connection& c) { c.pause(); });
    case OperationKind::resume:
      return with([](Connection& c) { c.resume(); });
    case OperationKind::demand:
      return with([&](Connection& c) { c.demand(operation.a); });
    case OperationKind::set_framing: {
      const Profile* profile = engine->profile(operation.a);
      return profile != nullptr && with([&](Connection& c) { c.set_framing(profile); });
    }
    case OperationKind::want_drain:
      return with([](Connection& c) { c.want_drain(); });
  }
  return false;
}

bool SubmissionBridge::send(Napi::Env env, Engine* engine, const Operation& operation,
                            Napi::Value pinned) {
  const bool repeated = shared_.kind == operation.kind && shared_.place == operation.a &&
                        shared_.size == operation.b;
  if (!locate(env, operation, pinned, repeated)) return false;
  const ConnectionId id{operation.slot, operation.generation};
  const bool copied = static_cast<OperationKind>(operation.kind) == OperationKind::send;
  const ByteSpan payload{copied ? bytes_ + operation.a : shared_.bytes.data, operation.b};
  const bool found = engine->with_connection(id, [&](Connection& connection) {
    if (!copied) {
      shared_.owner->add_ref();
      connection.push(payload, shared_.owner, operation.c, &ready_);
    } else if (repeated && encode_shared(connection.send_framing(), payload)) {
      shared_.owner->add_ref();
      connection.push_encoded(shared_.bytes, shared_.owner, operation.c, &ready_);
    } else {
      connection.push(payload, nullptr, operation.c, &ready_);
    }
  });
  if (!found && operation.c != 0) engine->deliver_sent(id, operation.c, SendOutcome::closed);
  return true;
}

// Makes shared_ what this send refers to.
bool SubmissionBridge::locate(Napi::Env env, const Operation& operation, Napi::Value pinned,
                              bool repeated) {
  if (repeated) return true;
  forget_shared();
  if (static_cast<OperationKind>(operation.kind) == OperationKind::send) {
    if (operation.a > kPayloadBytes || operation.b > kPayloadBytes - operation.a) return false;
  } else {
    if (!pinned.IsArray()) return false;
    const Napi::Value item = pinned.As<Napi::Array>().Get(operation.a);
    if (!item.IsTypedArray()) return false;
    const Napi::Uint8Array bytes = item.As<Napi::Uint8Array>();
    if (operation.b > bytes.ByteLength()) return false;
    napi_ref pin = nullptr;
    if (napi_create_reference(env, bytes, 1, &pin) != napi_ok) return false;
    shared_.owner = new PinnedOwner(delivery_, pin);
    shared_.bytes = {bytes.Data(), operation.b};
  }
  shared_.kind = operation.kind;
  shared_.place = operation.a;
  shared_.size = operation.b;
  return true;
}

// Makes shared_.bytes the payload as `framing` puts it on the wire. False when it does not fit.
bool SubmissionBridge::encode_shared(const Framing* framing, ByteSpan payload) {
  if (shared_.owner != nullptr && shared_.framing == framing) return true;
  FrameEnvelope envelope;
  if (!framing->encode(payload.size, &envelope)) return false;
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
  shared_.framing = framing;
  shared_.bytes = {block->data(), size};
  shared_.owner = block;
  return true;
}

void SubmissionBridge::forget_shared() {
  if (shared_.owner != nullptr) shared_.owner->release();
  shared_ = Shared{};
}

}  // namespace iocp
