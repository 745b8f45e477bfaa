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
    case OperationKind::send: {
      if (operation.a > kPayloadBytes || operation.b > kPayloadBytes - operation.a) return false;
      const bool found = engine->with_connection(id, [&](Connection& connection) {
        connection.push({bytes_ + operation.a, operation.b}, nullptr, operation.c);
      });
      if (!found && operation.c != 0) engine->deliver_sent(id, operation.c, SendOutcome::closed);
      return true;
    }
    case OperationKind::send_pinned:
      return send_pinned(env, engine, operation, pinned);
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
    case OperationKind::group_join:
    case OperationKind::group_leave:
      break;
  }
  return false;
}

bool SubmissionBridge::send_pinned(Napi::Env env, Engine* engine, const Operation& operation,
                                   Napi::Value pinned) {
  if (!pinned.IsArray()) return false;
  const Napi::Value item = pinned.As<Napi::Array>().Get(operation.a);
  if (!item.IsTypedArray()) return false;
  const Napi::Uint8Array bytes = item.As<Napi::Uint8Array>();
  if (operation.b > bytes.ByteLength()) return false;
  napi_ref pin = nullptr;
  if (napi_create_reference(env, bytes, 1, &pin) != napi_ok) return false;
  const ConnectionId id{operation.slot, operation.generation};
  SendOwner* owner = new PinnedOwner(delivery_, pin);
  const bool found = engine->with_connection(id, [&](Connection& connection) {
    connection.push({bytes.Data(), operation.b}, owner, operation.c);
  });
  if (found) return true;
  owner->release();
  if (operation.c != 0) engine->deliver_sent(id, operation.c, SendOutcome::closed);
  return true;
}

}  // namespace iocp
