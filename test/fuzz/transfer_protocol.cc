// sources: native/core/transfer_protocol.cc

#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/transfer_protocol.h"

using namespace iocp;

// Whatever is accepted lies within its input, and encodes to something that means the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  TransferFrame frame;
  if (!decode_transfer(data, size, &frame)) return 0;
  const auto inside = [&](const uint8_t* at, size_t length) {
    return length == 0 || (at >= data && at + length <= data + size);
  };
  if (!inside(frame.name, frame.name_size) || !inside(frame.rest, frame.rest_size)) std::abort();
  if (frame.hash != nullptr && !inside(frame.hash, kTransferHash)) std::abort();
  std::vector<uint8_t> wire(size);
  size_t written = encode_transfer(frame, wire.data(), wire.size());
  if (written == 0) std::abort();
  if (frame.kind == TransferKind::chunk) {
    std::memcpy(wire.data() + written, frame.rest, frame.rest_size);
    written += frame.rest_size;
  }
  if (written != size) std::abort();
  TransferFrame back;
  if (!decode_transfer(wire.data(), written, &back)) std::abort();
  if (back.kind != frame.kind || back.id != frame.id || back.number != frame.number) std::abort();
  if (back.has_hash != frame.has_hash || back.code != frame.code) std::abort();
  return 0;
}
