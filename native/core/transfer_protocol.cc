#include "core/transfer_protocol.h"

#include <cstring>

namespace iocp {
namespace {

class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : at_(data), left_(size) {}

  uint64_t number(size_t bytes) {
    const uint8_t* from = take(bytes);
    uint64_t value = 0;
    for (size_t i = 0; from != nullptr && i < bytes; ++i) value = value << 8 | from[i];
    return value;
  }
  const uint8_t* take(size_t size) {
    if (!ok_ || size > left_) {
      ok_ = false;
      return nullptr;
    }
    const uint8_t* from = at_;
    at_ += size;
    left_ -= size;
    return from;
  }
  size_t left() const { return left_; }
  bool ok() const { return ok_; }

 private:
  const uint8_t* at_;
  size_t left_;
  bool ok_ = true;
};

class Writer {
 public:
  Writer(uint8_t* out, size_t capacity) : out_(out), capacity_(capacity) {}

  void number(uint64_t value, size_t bytes) {
    if (!room(bytes)) return;
    for (size_t i = 0; i < bytes; ++i) out_[size_ + i] = static_cast<uint8_t>(value >> (8 * (bytes - 1 - i)));
    size_ += bytes;
  }
  void bytes(const uint8_t* data, size_t size) {
    if (!room(size) || size == 0) return;
    std::memcpy(out_ + size_, data, size);
    size_ += size;
  }
  size_t size() const { return ok_ ? size_ : 0; }

 private:
  bool room(size_t size) {
    ok_ = ok_ && size <= capacity_ - size_;
    return ok_;
  }
  uint8_t* out_;
  size_t capacity_;
  size_t size_ = 0;
  bool ok_ = true;
};

constexpr uint8_t kHasHash = 1;

// What holds for a frame in either direction.
bool plausible(const TransferFrame& frame) {
  if (frame.number > kTransferMaxSize) return false;
  switch (frame.kind) {
    case TransferKind::offer:
      return frame.name_size <= kTransferMaxName && frame.rest_size <= kTransferMaxMetadata;
    case TransferKind::reject:
    case TransferKind::abort:
      return frame.side <= 1 && frame.rest_size <= kTransferMaxReason;
    case TransferKind::chunk:
      return frame.rest_size != 0;
    case TransferKind::accept:
    case TransferKind::start:
    case TransferKind::done:
    case TransferKind::stored:
      return frame.rest_size == 0;
  }
  return false;
}

void read_hash(Reader* reader, TransferFrame* out) {
  const uint64_t flags = reader->number(1);
  out->has_hash = (flags & kHasHash) != 0;
  if (out->has_hash) out->hash = reader->take(kTransferHash);
}

void write_hash(Writer* writer, const TransferFrame& frame) {
  writer->number(frame.has_hash ? kHasHash : 0, 1);
  if (frame.has_hash) writer->bytes(frame.hash, kTransferHash);
}

}  // namespace

bool decode_transfer(const uint8_t* data, size_t size, TransferFrame* out) {
  Reader reader(data, size);
  const uint8_t type = static_cast<uint8_t>(reader.number(1));
  if (!reader.ok() || !is_transfer_type(type)) return false;
  TransferFrame frame;
  frame.kind = static_cast<TransferKind>(type);
  frame.id = static_cast<uint32_t>(reader.number(4));
  switch (frame.kind) {
    case TransferKind::offer: {
      frame.number = reader.number(8);
      frame.has_hash = (reader.number(1) & kHasHash) != 0;
      frame.name_size = static_cast<size_t>(reader.number(2));
      frame.name = reader.take(frame.name_size);
      break;
    }
    case TransferKind::accept:
    case TransferKind::done:
      frame.number = reader.number(8);
      read_hash(&reader, &frame);
      break;
    case TransferKind::start:
      frame.number = reader.number(8);
      break;
    case TransferKind::abort:
      frame.side = static_cast<uint8_t>(reader.number(1));
      frame.code = static_cast<uint16_t>(reader.number(2));
      break;
    case TransferKind::reject:
      frame.code = static_cast<uint16_t>(reader.number(2));
      break;
    case TransferKind::chunk:
    case TransferKind::stored:
      break;
  }
  if (!reader.ok()) return false;
  frame.rest_size = reader.left();
  frame.rest = reader.take(frame.rest_size);
  if (!plausible(frame)) return false;
  *out = frame;
  return true;
}

size_t encode_transfer(const TransferFrame& frame, uint8_t* out, size_t capacity) {
  TransferFrame checked = frame;
  if (frame.kind == TransferKind::chunk) checked.rest_size = 1;
  if (!plausible(checked)) return 0;
  Writer writer(out, capacity);
  writer.number(static_cast<uint8_t>(frame.kind), 1);
  writer.number(frame.id, 4);
  switch (frame.kind) {
    case TransferKind::offer:
      writer.number(frame.number, 8);
      writer.number(frame.has_hash ? kHasHash : 0, 1);
      writer.number(frame.name_size, 2);
      writer.bytes(frame.name, frame.name_size);
      break;
    case TransferKind::accept:
    case TransferKind::done:
      writer.number(frame.number, 8);
      write_hash(&writer, frame);
      break;
    case TransferKind::start:
      writer.number(frame.number, 8);
      break;
    case TransferKind::abort:
      writer.number(frame.side, 1);
      writer.number(frame.code, 2);
      break;
    case TransferKind::reject:
      writer.number(frame.code, 2);
      break;
    case TransferKind::chunk:
      return writer.size();
    case TransferKind::stored:
      break;
  }
  writer.bytes(frame.rest, frame.rest_size);
  return writer.size();
}

}  // namespace iocp
