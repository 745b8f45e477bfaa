#pragma once
// Read buffers, all of one size. A connection has one only while there is data to read into it.
#include <cstddef>
#include <cstdint>

#include "core/block_pool.h"

namespace iocp {

template <class Mutex>
class BufferPool;

// Owns one buffer of a pool; movable. Empty after a move, after detach(), or without memory.
template <class Mutex>
class PooledBuffer {
 public:
  PooledBuffer() = default;
  PooledBuffer(BufferPool<Mutex>* pool, uint8_t* data) : pool_(pool), data_(data) {}
  ~PooledBuffer() { reset(); }
  PooledBuffer(PooledBuffer&& other) noexcept : pool_(other.pool_), data_(other.detach()) {}
  PooledBuffer& operator=(PooledBuffer&& other) noexcept {
    if (this != &other) {
      reset();
      pool_ = other.pool_;
      data_ = other.detach();
    }
    return *this;
  }

  explicit operator bool() const { return data_ != nullptr; }
  uint8_t* data() const { return data_; }
  size_t size() const { return data_ == nullptr ? 0 : pool_->buffer_size(); }

  void reset() {
    if (data_ != nullptr) pool_->release(detach());
  }
  // The caller owns the buffer from here on and gives it to the pool's release().
  uint8_t* detach() {
    uint8_t* data = data_;
    data_ = nullptr;
    return data;
  }

 private:
  BufferPool<Mutex>* pool_ = nullptr;
  uint8_t* data_ = nullptr;
};

// Any thread. Outlives its buffers.
template <class Mutex>
class BufferPool {
 public:
  // `max_free` as in BlockPool: 0 keeps all unused buffers, -1 keeps none.
  BufferPool(size_t buffer_size, int64_t max_free) : blocks_(buffer_size, max_free) {}

  size_t buffer_size() const { return blocks_.block_size(); }

  // Empty when there is no memory.
  PooledBuffer<Mutex> get() { return {this, acquire()}; }

  uint8_t* acquire() { return static_cast<uint8_t*>(blocks_.acquire()); }
  void release(uint8_t* buffer) { blocks_.release(buffer); }

  void trim(uint64_t keep) { blocks_.trim(keep); }
  void decay() { blocks_.decay(); }
  PoolStats stats() const { return blocks_.stats(); }

 private:
  BlockPool<Mutex> blocks_;
};

}  // namespace iocp
