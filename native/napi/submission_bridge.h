#pragma once
#include <cstdint>
#include <memory>

#include <napi.h>

#include "napi/delivery_bridge.h"
#include "win/engine.h"

namespace iocp {

// Carries out the operations that JavaScript has gathered during a tick. JavaScript thread.
class SubmissionBridge final {
 public:
  static constexpr uint32_t kMaxOperations = 4096;
  static constexpr size_t kPayloadBytes = 1024 * 1024;

  SubmissionBridge(Napi::Env env, std::shared_ptr<DeliveryBridge> delivery);

  Napi::Uint32Array control() { return control_.Value(); }
  Napi::Uint8Array payload() { return payload_.Value(); }
  // False when an operation was malformed; those before it have been carried out.
  bool submit(Napi::Env env, Engine* engine, uint32_t operations, Napi::Value pinned);
  void close();

 private:
  struct Operation {
    uint32_t kind, slot, generation, a, b, c;
  };
  // What the last send referred to. Sends in a row of one place and size are one payload for many
  // connections: it is encoded once per framing, or pinned once, and counted.
  struct Shared {
    uint32_t kind = 0;
    uint32_t place = 0;
    uint32_t size = 0;
    const Framing* framing = nullptr;
    ByteSpan bytes{nullptr, 0};
    SendOwner* owner = nullptr;  // one count is ours
  };
  bool carry_out(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  bool send(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  bool locate(Napi::Env env, const Operation& operation, Napi::Value pinned, bool repeated);
  bool encode_shared(const Framing* framing, ByteSpan payload);
  void forget_shared();

  const std::shared_ptr<DeliveryBridge> delivery_;
  Napi::Reference<Napi::Uint32Array> control_;
  Napi::Reference<Napi::Uint8Array> payload_;
  const uint32_t* words_;
  const uint8_t* bytes_;
  Shared shared_;
  ReadyList ready_;  // connections that this submission has given something to send
};

}  // namespace iocp
