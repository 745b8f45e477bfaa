#pragma once
// The way from the I/O threads to JavaScript: bounded, in order, drained in batches.
//
// Any I/O thread appends; one thread (that of the JavaScript environment) drains. A connection's
// records are appended by one thread at a time, so the order of appending is the order of its stream.
// The bound is not enforced by refusing a record (nothing may be lost) but by telling the reader of a
// connection to stop: it parks, and is named again by take_resumable() once there is room.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/connection_id.h"
#include "core/delivery_chunk.h"
#include "core/records.h"

namespace iocp {

// A connection's share of what waits in the queue. Counting down record by record would cost the
// draining thread a look-up per packet; instead the count starts anew as soon as every chunk that
// holds bytes of this connection has been drained.
struct DeliveryCredit {
  uint64_t last_sequence = 0;
  uint64_t bytes = 0;
};

struct DeliveryLimits {
  uint64_t total = 16u * 1024 * 1024;
  uint64_t per_connection = 1024u * 1024;
};

template <class Mutex>
class DeliveryQueue {
 public:
  explicit DeliveryQueue(DeliveryLimits limits) : limits_(limits) {}

  // I/O threads: appends while it lives, under the queue's lock. Short-lived; nothing is called out to.
  class Writer {
   public:
    explicit Writer(DeliveryQueue& queue) : queue_(queue), guard_(queue.mutex_) {}
    // `size` bytes are copied; the record's `a` and `b` then become their offset and length. `credit`
    // (may be null) is the connection's and is guarded by this queue.
    void append(Record record, const void* data, size_t size, DeliveryCredit* credit) {
      queue_.append_locked(record, data, size, credit);
    }
    // Takes the block, one of PayloadMemory; the record is about its bytes from `skip` on.
    void append_block(Record record, uint8_t* block, size_t size, size_t skip, DeliveryCredit* credit) {
      queue_.append_block_locked(record, block, size, skip, credit);
    }

   private:
    DeliveryQueue& queue_;
    std::lock_guard<Mutex> guard_;
  };

  void append(const Record& record, const void* data, size_t size, DeliveryCredit* credit) {
    Writer(*this).append(record, data, size, credit);
  }

  // Any thread: a record that may wait for company. Until another one is appended, or publish_gathered(), needs_wake()
  // does not see it; a drain that is under way takes it along.
  void append_gathered(const Record& record, const void* data, size_t size) {
    std::lock_guard<Mutex> guard(mutex_);
    append_chunk_locked(record, data, size, nullptr);
    // Whoever has parked waits for a drain.
    if (is_full_) return publish_locked();
    has_gathered_.store(true);
  }
  // Any thread: what waits for company waits no more. The caller then asks needs_wake().
  void publish_gathered() {
    if (!has_gathered_.load()) return;
    std::lock_guard<Mutex> guard(mutex_);
    if (has_gathered_.load()) publish_locked();
  }

  // I/O threads, cheap: is there something that nobody has been woken for?
  bool needs_wake() { return has_records_.load() && !wake_outstanding_.exchange(true); }

  // Any thread: a wake-up for another reason. False when one is on its way, or a drain is not over.
  bool begin_wake() { return !wake_outstanding_.exchange(true); }

  // I/O threads. True when the connection must stop reading; it is then parked under its id and will
  // be named by take_resumable(). Checked and parked in one step, so that no drain falls in between.
  bool park_if_full(ConnectionId id, DeliveryCredit* credit) {
    // Only the connection's own reader adds to its credit, so far below the bound it can tell alone.
    if (credit->bytes < limits_.per_connection && !is_full_.load(std::memory_order_relaxed)) return false;
    std::lock_guard<Mutex> guard(mutex_);
    if (credit->last_sequence <= drained_sequence_) credit->bytes = 0;
    if (credit->bytes >= limits_.per_connection) {
      over_own_.push_back({id, credit->last_sequence});
      std::push_heap(over_own_.begin(), over_own_.end(), drained_later);
    } else if (is_full_) {
      over_total_.push_back({id, last_sequence_});
    } else {
      return false;
    }
    ++times_parked_;
    return true;
  }

  // Draining thread: take() has found nothing. True when something came meanwhile: drain on. False: the
  // next record asks for a wake-up again. While a drain goes on, or is to go on, nobody asks.
  bool end_drain() {
    wake_outstanding_.store(false);
    return needs_wake();
  }

  // Draining thread: the next batch, or null. Give it back with finish().
  std::unique_ptr<DeliveryChunk> take() {
    std::lock_guard<Mutex> guard(mutex_);
    std::unique_ptr<DeliveryChunk> chunk;
    if (!full_.empty()) {
      chunk = std::move(full_.front());
      full_.pop_front();
    }
    if (full_.empty()) {
      has_records_.store(false);
      has_gathered_.store(false);
    }
    return chunk;
  }

  // Draining thread: this batch, taken last, is for a later drain.
  void put_back(std::unique_ptr<DeliveryChunk> chunk) {
    std::lock_guard<Mutex> guard(mutex_);
    full_.push_front(std::move(chunk));
    has_records_.store(true);
  }

  // Draining thread: JavaScript has seen the batch. `cost` is what cost() said before the payload was
  // released. True when parked connections may go on.
  bool finish(std::unique_ptr<DeliveryChunk> chunk, size_t cost) {
    std::lock_guard<Mutex> guard(mutex_);
    drained_sequence_ = chunk->sequence;
    pending_bytes_ -= cost;
    if (spare_.size() < kSpareChunks && chunk->may_be_reused()) {
      chunk->reuse();
      spare_.push_back(std::move(chunk));
    }
    // Full until half of it has been drained, for everybody: whoever read on meanwhile would keep those out that
    // have parked.
    if (pending_bytes_ <= limits_.total / 2) is_full_ = false;
    return may_resume_locked();
  }

  // I/O threads: connections that were parked and may read again, at most `most` of them.
  void take_resumable(size_t most, std::vector<ConnectionId>* out) {
    std::lock_guard<Mutex> guard(mutex_);
    while (out->size() < most && may_resume_locked()) {
      // Whoever has parked first: those of either kind that go on may fill the queue and park again, for ever.
      if (!own_is_drained() || (!over_total_.empty() && over_total_.front().sequence < over_own_.front().sequence)) {
        out->push_back(over_total_.front().id);
        over_total_.pop_front();
      } else {
        std::pop_heap(over_own_.begin(), over_own_.end(), drained_later);
        out->push_back(over_own_.back().id);
        over_own_.pop_back();
      }
    }
    if (over_own_.empty()) over_own_.shrink_to_fit();
  }

  // Any thread, cheap.
  uint64_t pending_bytes() const { return pending_bytes_.load(std::memory_order_relaxed); }
  bool empty() const { return !has_records_.load() && !has_gathered_.load(); }

  struct Depth {
    uint64_t bytes;
    uint64_t peak_bytes;
    uint64_t parked;
    uint64_t times_parked;
  };
  Depth depth() {
    std::lock_guard<Mutex> guard(mutex_);
    return {pending_bytes_, peak_bytes_, over_own_.size() + over_total_.size(), times_parked_};
  }

 private:
  static constexpr size_t kSpareChunks = 4;
  struct Parked {
    ConnectionId id;
    uint64_t sequence;  // of its own bound: may go on once this chunk is drained; else the last one when it parked
  };

  // Order of the heap: the one that may go on first is on top.
  static bool drained_later(const Parked& one, const Parked& other) { return one.sequence > other.sequence; }

  bool may_resume_locked() const {
    if (is_full_) return false;
    return !over_total_.empty() || own_is_drained();
  }
  bool own_is_drained() const { return !over_own_.empty() && over_own_.front().sequence <= drained_sequence_; }

  void append_locked(const Record& record, const void* data, size_t size, DeliveryCredit* credit) {
    append_chunk_locked(record, data, size, credit);
    publish_locked();
  }

  void append_chunk_locked(Record record, const void* data, size_t size, DeliveryCredit* credit) {
    DeliveryChunk* chunk = writable(size);
    if (size != 0) {
      record.a = static_cast<uint32_t>(chunk->payload_size());
      record.b = static_cast<uint32_t>(size);
    }
    chunk->append(record, data, size);
    note_locked(*chunk, size + sizeof(Record), credit);
  }

  void append_block_locked(Record record, uint8_t* block, size_t size, size_t skip, DeliveryCredit* credit) {
    DeliveryChunk* chunk = new_chunk(false);
    chunk->adopt_payload(block, size);
    record.a = static_cast<uint32_t>(skip);
    record.b = static_cast<uint32_t>(size - skip);
    chunk->append_in_place(record);
    note_locked(*chunk, size + sizeof(Record), credit);
    publish_locked();
  }

  void note_locked(const DeliveryChunk& chunk, uint64_t cost, DeliveryCredit* credit) {
    pending_bytes_ += cost;
    if (pending_bytes_ > peak_bytes_) peak_bytes_ = pending_bytes_;
    if (pending_bytes_ >= limits_.total) is_full_ = true;
    if (credit != nullptr) {
      if (credit->last_sequence <= drained_sequence_) credit->bytes = 0;
      credit->bytes += cost;
      credit->last_sequence = chunk.sequence;
    }
  }

  // From now on somebody is to be woken, for the records that were gathered too.
  void publish_locked() {
    has_gathered_.store(false);
    has_records_.store(true);
  }

  DeliveryChunk* writable(size_t size) {
    if (!full_.empty() && full_.back()->fits(size)) return full_.back().get();
    // A big packet that fits nowhere gets a chunk of its size: two of 40 KiB must not take 128 KiB.
    const bool shared = size <= DeliveryChunk::kSharedBytes;
    DeliveryChunk* chunk = new_chunk(shared);
    chunk->reserve_payload(shared ? DeliveryChunk::kPayloadBytes : size);
    return chunk;
  }

  // Empty, the last of those that fill. A spare one may have a block, of the usual size.
  DeliveryChunk* new_chunk(bool may_have_block) {
    std::unique_ptr<DeliveryChunk> chunk;
    const auto found = std::find_if(spare_.begin(), spare_.end(),
                                    [&](const auto& spare) { return may_have_block || !spare->has_block(); });
    if (found != spare_.end()) {
      chunk = std::move(*found);
      spare_.erase(found);
    } else {
      chunk = std::make_unique<DeliveryChunk>();
    }
    chunk->sequence = ++last_sequence_;
    chunk->opened = std::chrono::steady_clock::now();
    full_.push_back(std::move(chunk));
    return full_.back().get();
  }

  const DeliveryLimits limits_;
  Mutex mutex_;
  std::deque<std::unique_ptr<DeliveryChunk>> full_;  // the last one may still be filling
  std::vector<std::unique_ptr<DeliveryChunk>> spare_;
  // Those that have parked for their own bound, a heap; and those that have for the bound of all, first come, first
  // served. Naming some of them costs nothing for the others.
  std::vector<Parked> over_own_;
  std::deque<Parked> over_total_;
  uint64_t last_sequence_ = 0;
  uint64_t drained_sequence_ = 0;
  std::atomic<uint64_t> pending_bytes_{0};  // written under the lock
  std::atomic<bool> is_full_{false};        // likewise: the bound of all was reached, and half of it is not drained yet
  uint64_t peak_bytes_ = 0;
  uint64_t times_parked_ = 0;
  // Sequentially consistent: an appender writes the first and reads the second, the end of a drain does
  // it the other way round, and one of them has to see the other.
  std::atomic<bool> has_records_{false};
  std::atomic<bool> wake_outstanding_{false};
  std::atomic<bool> has_gathered_{false};  // written under the lock: there are records that nobody is woken for yet
};

}  // namespace iocp
