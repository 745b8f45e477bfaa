#pragma once
// What one connection still has to send: packets in order, gathered into one write at a time.
//
// Externally synchronised (the connection's lock). Small payloads are copied into blocks that several
// packets share; big ones stay where they are and are held by a counted owner. An idle queue owns no
// heap memory.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace iocp {

// Memory that queued packets point into. Counted, because several packets (and, in a broadcast, several
// connections on several threads) share one. Freed by the one who drops the last count, on any thread.
class SendBuffer {
 public:
  void add_ref() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

 protected:
  SendBuffer() = default;
  ~SendBuffer() = default;
  SendBuffer(const SendBuffer&) = delete;
  SendBuffer& operator=(const SendBuffer&) = delete;

 private:
  virtual void destroy() = 0;
  std::atomic<uint32_t> refs_{1};
};

// A block that packets are copied into, one behind the other.
class SendBlock final : public SendBuffer {
 public:
  static SendBlock* create(size_t capacity);
  // The capacities that are recycled.
  static constexpr size_t kSmall = 1024;
  static constexpr size_t kBig = 8192;
  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t capacity() const { return capacity_; }
  size_t used() const { return used_; }
  size_t room() const { return capacity_ - used_; }
  uint8_t* grow(size_t size) {
    uint8_t* at = data() + used_;
    used_ += size;
    return at;
  }

 private:
  explicit SendBlock(size_t capacity) : capacity_(capacity) {}
  void destroy() override;
  size_t capacity_;
  size_t used_ = 0;
};

struct ByteSpan {
  const uint8_t* data;
  size_t size;
};

class SendQueue {
 public:
  struct Totals {
    uint64_t bytes;    // framing included, bytes in flight included
    uint32_t packets;  // a packet counts until its last byte has been taken by the system
  };
  // Packets that left the queue, for whoever asked to be told (token != 0).
  struct Finished {
    uint32_t packets = 0;
    uint64_t bytes = 0;
    std::vector<uint32_t> tokens;
  };

  SendQueue() = default;
  ~SendQueue();
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;

  // A packet of up to three parts, copied.
  void push_copy(ByteSpan header, ByteSpan payload, ByteSpan trailer, uint32_t token);
  // The same, but it stays when the oldest packets have to go.
  void push_lasting(ByteSpan header, ByteSpan payload, ByteSpan trailer);
  // Bytes that are no packet: they stay as well, and count neither among the packets nor among the bytes.
  void push_preface(ByteSpan bytes);
  // The payload stays where it is; the queue takes one count of `owner` over.
  void push_owned(ByteSpan header, ByteSpan payload, ByteSpan trailer, SendBuffer* owner, uint32_t token);

  // Something that is not in memory (a file) takes its place behind what was pushed before. The queue
  // takes one count of `item` over. It has no bytes here and is no packet: whoever sends it counts it.
  void push_item(SendBuffer* item);
  // The item whose turn it is; null when it is the turn of bytes, or of nothing.
  SendBuffer* front_item() { return count_ != 0 && at(0).is_item != 0 ? at(0).owner : nullptr; }
  // A write of the front item begins; it ends with end_item(). One write at a time, as with gather().
  void begin_item() { in_flight_ = 1; }
  // The item's count comes back to the caller when it has `finished`; else null, and it stays in front.
  SendBuffer* end_item(bool finished);
  // As push_lasting(), right in front of an item that no write has begun on. False when the item is not there (any
  // more).
  bool push_before(const SendBuffer* item, ByteSpan header, ByteSpan payload, ByteSpan trailer);
  // Takes an item out that no write has begun on. False when it is not there (any more).
  bool remove_item(const SendBuffer* item);

  bool empty() const { return count_ == 0; }
  Totals totals() const { return totals_; }
  bool in_flight() const { return in_flight_ != 0; }

  // Begins a write: fills `spans` with the next bytes in order, up to max_bytes (at least one span),
  // none when it is an item's turn. They stay valid until complete(). One write at a time.
  size_t gather(ByteSpan* spans, size_t max_spans, size_t max_bytes);
  // Ends it: `bytes` were taken, possibly fewer than gathered.
  void complete(size_t bytes, Finished* finished);
  // Ends it: it has failed, or was not made. Everything is still to be sent.
  void give_up() { in_flight_ = 0; }

  // Takes whole packets from the front, but none that a write has begun on, none that lasts and no item, until `bytes`
  // or more and `packets` or more have gone (drop-oldest).
  void drop_oldest(uint64_t bytes, uint32_t packets, Finished* finished);
  // Everything that is not in the hands of the system; with in_flight() the rest stays until complete().
  void clear(Finished* finished);

 private:
  struct Entry {
    const uint8_t* data;
    SendBuffer* owner;
    uint32_t size;
    uint32_t token : 29;
    uint32_t is_item : 1;
    uint32_t lasts : 1;  // also when the oldest packets have to go; always a whole packet, or several
    uint32_t ends_packet : 1;

    bool is_preface() const { return lasts != 0 && ends_packet == 0; }
    // Whether what is behind it begins with a packet.
    bool is_end() const { return ends_packet != 0 || lasts != 0; }
    uint64_t counted(uint64_t bytes) const { return is_preface() ? 0 : bytes; }
  };
  static constexpr size_t kInlineEntries = 2;

  Entry& at(size_t index) { return entries_[(head_ + index) & (capacity_ - 1)]; }
  void push_entry(const uint8_t* data, size_t size, SendBuffer* owner, uint32_t token, bool ends);
  void pop_front(Finished* finished, bool report);
  uint8_t* reserve_copy(size_t size, SendBlock** block);
  size_t find_item(const SendBuffer* item);
  bool append_to(Entry* entry, ByteSpan header, ByteSpan payload, ByteSpan trailer);
  void open_gap(size_t index);
  void grow();
  void release_memory();
  void remove_range(size_t first, size_t last, Finished* finished);

  Entry inline_[kInlineEntries];
  Entry* entries_ = inline_;
  size_t capacity_ = kInlineEntries;
  size_t head_ = 0;
  size_t count_ = 0;
  size_t front_offset_ = 0;     // bytes of the front entry that have gone
  size_t in_flight_ = 0;        // entries that the write in progress touches
  bool front_started_ = false;  // bytes of the front packet have gone before the front entry
  SendBlock* tail_block_ = nullptr;
  SendBlock* front_block_ = nullptr;  // the last one of push_before()
  Totals totals_{0, 0};
};

}  // namespace iocp
