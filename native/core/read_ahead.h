#pragma once
// The memory for one read of a file that is being sent: a pooled buffer or, for a peer that takes the bytes quickly, a
// big block. A request costs about the same whatever it carries. But a peer holds its files' memory for as long as it
// likes; so a slow one gets no big blocks, and an engine has only so many of them at a time.
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/buffer_pool.h"
#include "core/payload_memory.h"

namespace iocp {

// How many big blocks an engine has given out. Any thread.
class ReadAheadBlocks {
 public:
  static constexpr uint32_t kMax = 128;

  bool take() {
    if (taken_.fetch_add(1, std::memory_order_relaxed) < kMax) return true;
    give_back();
    return false;
  }
  void give_back() { taken_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> taken_{0};
};

// One thread at a time. The pool and the count outlive it.
template <class Mutex>
class ReadAheadMemory {
 public:
  static constexpr size_t kBlock = 256 * 1024;

  ReadAheadMemory() = default;
  ~ReadAheadMemory() { reset(); }
  ReadAheadMemory(const ReadAheadMemory&) = delete;
  ReadAheadMemory& operator=(const ReadAheadMemory&) = delete;

  // Changes it for the other kind if that is what is wanted. What cannot be had it does without: where there is no
  // block there is a buffer, and the other way round. False when there is no memory at all.
  bool prepare(BufferPool<Mutex>* pool, ReadAheadBlocks* blocks, bool big) {
    if (big && block_ == nullptr && acquire_block(blocks)) buffer_.reset();
    if ((!big || block_ == nullptr) && !buffer_) buffer_ = pool->get();
    if (!big && buffer_) release_block();
    return size() != 0;
  }

  bool is_big() const { return block_ != nullptr; }

  uint8_t* data() const { return block_ != nullptr ? block_ : buffer_.data(); }
  size_t size() const { return block_ != nullptr ? kBlock : buffer_.size(); }

  void reset() {
    release_block();
    buffer_.reset();
  }

 private:
  bool acquire_block(ReadAheadBlocks* blocks) {
    if (!blocks->take()) return false;
    size_t capacity = 0;
    block_ = PayloadMemory::allocate(kBlock, &capacity);
    if (block_ == nullptr) {
      blocks->give_back();
      return false;
    }
    blocks_ = blocks;
    return true;
  }

  void release_block() {
    if (block_ == nullptr) return;
    PayloadMemory::free(block_);
    block_ = nullptr;
    blocks_->give_back();
  }

  PooledBuffer<Mutex> buffer_;
  uint8_t* block_ = nullptr;
  ReadAheadBlocks* blocks_ = nullptr;
};

}  // namespace iocp
