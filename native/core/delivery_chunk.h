#pragma once
// One batch in the making: records and the payload bytes that they point into.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/payload_memory.h"
#include "core/records.h"

namespace iocp {

// Owned by the delivery queue while it fills, by the draining thread afterwards. The payload block can
// be handed over on its own (release_payload), so that a big batch reaches JavaScript without a copy; and
// a big packet that was gathered in a block of its own comes in it (adopt_payload).
class DeliveryChunk {
 public:
  static constexpr uint32_t kMaxRecords = 1024;
  static constexpr size_t kPayloadBytes = 64 * 1024;
  static constexpr size_t kSharedBytes = 16 * 1024;  // larger packets may get a chunk of their own

  DeliveryChunk() {}  // not defaulted: make_unique would clear the records, under the queue's lock
  ~DeliveryChunk() { PayloadMemory::free(payload_); }
  DeliveryChunk(const DeliveryChunk&) = delete;
  DeliveryChunk& operator=(const DeliveryChunk&) = delete;

  bool fits(size_t bytes) const { return count_ < kMaxRecords && (bytes <= capacity_ - used_); }

  // The bytes stand at what payload_size() said before. The caller has asked fits().
  void append(const Record& record, const void* data, size_t size) {
    if (size != 0) {
      std::memcpy(payload_ + used_, data, size);
      used_ += size;
    }
    records_[count_++] = record;
  }

  const Record* records() const { return records_; }
  uint32_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  const uint8_t* payload() const { return payload_; }
  size_t payload_size() const { return used_; }
  bool has_block() const { return payload_ != nullptr; }
  bool may_be_reused() const { return payload_ == nullptr || capacity_ == kPayloadBytes; }
  // What the bound counts: payload and records.
  size_t cost() const { return used_ + count_ * sizeof(Record); }

  // The caller gives the block to PayloadMemory::free().
  uint8_t* release_payload() {
    uint8_t* block = payload_;
    payload_ = nullptr;
    capacity_ = used_ = 0;
    return block;
  }

  // Takes a block of PayloadMemory that is full.
  void adopt_payload(uint8_t* block, size_t size) {
    PayloadMemory::free(payload_);
    payload_ = block;
    capacity_ = used_ = size;
  }
  // A record of bytes that stand in the block already.
  void append_in_place(const Record& record) { records_[count_++] = record; }

  void reuse() {
    count_ = 0;
    used_ = 0;
  }
  // An empty chunk that is to take copies has to have a block.
  void reserve_payload(size_t bytes) {
    if (payload_ != nullptr) return;
    size_t usable = 0;
    payload_ = PayloadMemory::need(bytes == 0 ? 1 : bytes, &usable);
    capacity_ = bytes;
  }

  uint64_t sequence = 0;
  std::chrono::steady_clock::time_point opened;  // when its first record came

 private:
  uint8_t* payload_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
  uint32_t count_ = 0;
  Record records_[kMaxRecords];
};

}  // namespace iocp
