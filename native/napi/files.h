#pragma once
#include <memory>
#include <string>

#include <napi.h>

#include "core/transfer_protocol.h"
#include "napi/file_jobs.h"
#include "win/files/receive_file.h"
#include "win/files/send_file.h"
#include "win/files/transfer_file.h"

namespace iocp {

// What the class Engine has of these, each with the arguments of its call. What may wait for a disk gives a promise,
// and a disk thread does it. Undefined where there is nothing to wait for.
Napi::Value open_source(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);
Napi::Value open_target(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);
Napi::Value hash_some(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);
// hash_some() fails soon, one that is under way and any other.
void stop_file(const Napi::CallbackInfo& info);
Napi::Value close_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);
Napi::Value move_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);
// One that is open, by its handle.
Napi::Value rename_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs);

// Where JavaScript holds the open file that openSource or openTarget gave; null when it has been used or closed.
FileHome home_of(Napi::Value value);
bool read_send_file(Napi::Env env, Napi::Value value, SendFileOptions* out);
bool read_receive_file(Napi::Env env, Napi::Value value, ReceiveFileOptions* out);
// A frame and what it points to: the strings beside it. So it stays where it was read into; a copy's
// frame would point into the original.
struct OwnedTransferFrame {
  OwnedTransferFrame() = default;
  OwnedTransferFrame(const OwnedTransferFrame&) = delete;
  OwnedTransferFrame& operator=(const OwnedTransferFrame&) = delete;

  TransferFrame frame;
  std::string name;
  std::string rest;
  std::string hash;
};
bool read_transfer_frame(Napi::Env env, Napi::Value value, OwnedTransferFrame* out);

}  // namespace iocp
