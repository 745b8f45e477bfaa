#pragma once
#include <memory>
#include <string>

#include <napi.h>

#include "core/transfer_protocol.h"
#include "win/send_file.h"
#include "win/receive_file.h"
#include "win/transfer_file.h"

namespace iocp {

// openSource, openTarget, hashSome, closeFile, moveFile and transmitsFreely of the addon. What blocks
// runs on Node's pool of threads and gives a promise.
void define_files(Napi::Env env, Napi::Object exports);

// The open file behind what openSource or openTarget gave; null when it has been used or closed.
std::unique_ptr<TransferFile> take_file(Napi::Value value);
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
