#pragma once
#include <cstdint>
#include <memory>

#include <napi.h>

#include "napi/delivery_bridge.h"
#include "win/engine/engine.h"
#include "win/jobs/job_hub.h"

namespace iocp {

// A worker's side of the jobs; null in the environment that the engine belongs to.
struct WorkerSide {
  JobHub* hub;
  WorkerSlot* slot;
};

// Carries out the operations that JavaScript has gathered during a tick. JavaScript thread of the
// environment that made it: that of the engine, or of a worker.
class SubmissionBridge final {
 public:
  static constexpr uint32_t kMaxOperations = 4096;
  static constexpr size_t kPayloadBytes = 1024 * 1024;

  SubmissionBridge(Napi::Env env, std::shared_ptr<DeliveryBridge> delivery);
  // A worker's. Everything is copied: its memory may go at any moment, the packets stay.
  SubmissionBridge(Napi::Env env, WorkerSide worker);

  Napi::Uint32Array control() { return control_.Value(); }
  Napi::Uint8Array payload() { return payload_.Value(); }
  // False when an operation was malformed; all others have been carried out.
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
    ByteSpan payload{nullptr, 0};
    ProfileRef profile;  // whose framing `encoded` is for; it keeps that alive, so that none other has its address
    ByteSpan encoded{nullptr, 0};
    SendBuffer* owner = nullptr;  // of the payload when pinned, else of `encoded`; one count is ours
  };
  void make_arrays(Napi::Env env);
  bool carry_out(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  bool send(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  // Where the payload of an operation is.
  enum class Located { found, detached, malformed };
  Located locate(Napi::Env env, const Operation& operation, Napi::Value pinned, bool repeated);
  bool encode_shared(Connection& connection);
  void push(Connection& connection, bool shared, uint32_t token);
  bool broadcast(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  void tell_detached(Engine* engine, const Operation& operation, uint32_t token);
  bool job_done(Napi::Env env, Engine* engine, const Operation& operation, Napi::Value pinned);
  void forget_shared();

  const std::shared_ptr<DeliveryBridge> delivery_;  // null: a worker's
  const WorkerSide worker_{nullptr, nullptr};
  Napi::Reference<Napi::Uint32Array> control_;
  Napi::Reference<Napi::Uint8Array> payload_;
  const uint32_t* words_;
  const uint8_t* bytes_;
  Shared shared_;
  ReadyList ready_;  // connections that this submission has given something to send
};

}  // namespace iocp
