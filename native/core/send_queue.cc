#include "core/send_queue.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/block_cache.h"
#include "core/poison.h"

namespace iocp {

namespace {

// The sizes that queues ask for are made and freed for each write of a busy connection, so unused ones are kept: 64 of
// each for the process.
BlockCache small_blocks;
BlockCache big_blocks;

BlockCache* cache_of(size_t capacity) {
  if (capacity == SendBlock::kSmall) return &small_blocks;
  return capacity == SendBlock::kBig ? &big_blocks : nullptr;
}

}  // namespace

SendBlock* SendBlock::create(size_t capacity) {
  BlockCache* const cache = cache_of(capacity);
  void* memory = cache == nullptr ? nullptr : cache->take();
  if (memory != nullptr) {
    unpoison_memory(memory, sizeof(SendBlock) + capacity);
  } else {
    memory = std::malloc(sizeof(SendBlock) + capacity);
    if (memory == nullptr) std::abort();
  }
  return new (memory) SendBlock(capacity);
}

void SendBlock::destroy() {
  const size_t capacity = capacity_;
  this->~SendBlock();
  if (BlockCache* cache = cache_of(capacity)) {
    poison_memory(this, sizeof(SendBlock) + capacity);
    if (cache->put(this)) return;
    unpoison_memory(this, sizeof(SendBlock) + capacity);
  }
  std::free(this);
}

SendQueue::~SendQueue() {
  in_flight_ = 0;
  clear(nullptr);
}

void SendQueue::push_copy(ByteSpan header, ByteSpan payload, ByteSpan trailer, uint32_t token) {
  const size_t size = header.size + payload.size + trailer.size;
  SendBlock* block = nullptr;
  uint8_t* at = reserve_copy(size, &block);
  for (const ByteSpan& part : {header, payload, trailer}) {
    if (part.size == 0) continue;
    std::memcpy(at, part.data, part.size);
    at += part.size;
  }
  block->add_ref();
  push_entry(at - size, size, block, token, true);
}

void SendQueue::push_lasting(ByteSpan header, ByteSpan payload, ByteSpan trailer) {
  push_copy(header, payload, trailer, 0);
  at(count_ - 1).lasts = 1;
}

void SendQueue::push_preface(ByteSpan bytes) {
  SendBlock* block = nullptr;
  uint8_t* at_block = reserve_copy(bytes.size, &block);
  std::memcpy(at_block, bytes.data, bytes.size);
  block->add_ref();
  push_entry(at_block, bytes.size, block, 0, false);
  at(count_ - 1).lasts = 1;
  totals_.bytes -= bytes.size;
}

void SendQueue::push_owned(ByteSpan header, ByteSpan payload, ByteSpan trailer, SendBuffer* owner, uint32_t token) {
  if (header.size != 0) {
    SendBlock* block = nullptr;
    uint8_t* at = reserve_copy(header.size, &block);
    std::memcpy(at, header.data, header.size);
    block->add_ref();
    push_entry(at, header.size, block, 0, false);
  }
  push_entry(payload.data, payload.size, owner, trailer.size == 0 ? token : 0, trailer.size == 0);
  if (trailer.size != 0) {
    SendBlock* block = nullptr;
    uint8_t* at = reserve_copy(trailer.size, &block);
    std::memcpy(at, trailer.data, trailer.size);
    block->add_ref();
    push_entry(at, trailer.size, block, token, true);
  }
}

void SendQueue::push_item(SendBuffer* item) {
  push_entry(nullptr, 0, item, 0, false);
  at(count_ - 1).is_item = 1;
}

SendBuffer* SendQueue::end_item(bool finished) {
  in_flight_ = 0;
  if (!finished) return nullptr;
  SendBuffer* item = at(0).owner;
  item->add_ref();
  pop_front(nullptr, false);
  front_started_ = false;
  if (count_ == 0) release_memory();
  return item;
}

bool SendQueue::remove_item(const SendBuffer* item) {
  const size_t index = find_item(item);
  if (index == count_) return false;
  remove_range(index, index + 1, nullptr);
  return true;
}

// The place of an item that no write has begun on; that behind the last entry when there is none.
size_t SendQueue::find_item(const SendBuffer* item) {
  for (size_t i = in_flight_; i < count_; ++i) {
    if (at(i).owner == item && at(i).is_item != 0) return i;
  }
  return count_;
}

bool SendQueue::push_before(const SendBuffer* item, ByteSpan header, ByteSpan payload, ByteSpan trailer) {
  const size_t index = find_item(item);
  if (index == count_) return false;
  // Words that a peer can provoke: many of them are one entry, so that finding the item does not take longer and
  // longer.
  if (index > in_flight_ && append_to(&at(index - 1), header, payload, trailer)) return true;
  const size_t size = header.size + payload.size + trailer.size;
  if (front_block_ != nullptr) front_block_->release();
  front_block_ = SendBlock::create((std::max)(SendBlock::kSmall, size));
  if (count_ == capacity_) grow();
  open_gap(index);
  Entry& entry = at(index);
  front_block_->add_ref();
  entry = {front_block_->data(), front_block_, 0, 0, 0, 1, 1};
  ++totals_.packets;
  (void)append_to(&entry, header, payload, trailer);
  return true;
}

// Puts a packet behind those of an entry of push_before(). False when it is none, or has no room.
bool SendQueue::append_to(Entry* entry, ByteSpan header, ByteSpan payload, ByteSpan trailer) {
  const size_t size = header.size + payload.size + trailer.size;
  if (entry->owner != front_block_ || front_block_->room() < size) return false;
  for (const ByteSpan& part : {header, payload, trailer}) {
    if (part.size != 0) std::memcpy(front_block_->grow(part.size), part.data, part.size);
  }
  entry->size += static_cast<uint32_t>(size);
  totals_.bytes += size;
  return true;
}

// An entry more, at `index`. There is room, and the shorter side moves.
void SendQueue::open_gap(size_t index) {
  ++count_;
  if (index < count_ / 2) {
    head_ = (head_ - 1) & (capacity_ - 1);
    for (size_t i = 0; i < index; ++i) at(i) = at(i + 1);
  } else {
    for (size_t i = count_ - 1; i > index; --i) at(i) = at(i - 1);
  }
}

size_t SendQueue::gather(ByteSpan* spans, size_t max_spans, size_t max_bytes) {
  size_t filled = 0;
  size_t bytes = 0;
  size_t index = 0;
  for (; index < count_; ++index) {
    const Entry& entry = at(index);
    if (entry.is_item != 0) break;
    const size_t skip = index == 0 ? front_offset_ : 0;
    const uint8_t* data = entry.data + skip;
    size_t size = entry.size - skip;
    if (filled != 0 && bytes + size > max_bytes) break;
    // One huge payload goes in pieces: a write locks its pages.
    if (size > max_bytes) size = max_bytes;
    // Packets that were copied one behind the other leave as one span.
    if (filled != 0 && spans[filled - 1].data + spans[filled - 1].size == data) {
      spans[filled - 1].size += size;
    } else {
      if (filled == max_spans) break;
      spans[filled++] = {data, size};
    }
    bytes += size;
  }
  in_flight_ = index;
  return filled;
}

void SendQueue::complete(size_t bytes, Finished* finished) {
  in_flight_ = 0;
  while (count_ != 0 && at(0).is_item == 0) {
    const size_t left = at(0).size - front_offset_;
    totals_.bytes -= at(0).counted((std::min)(bytes, left));
    if (bytes < left) {
      front_offset_ += bytes;
      return;
    }
    bytes -= left;
    pop_front(finished, true);
    // An entry of no bytes (an empty packet under raw framing) leaves with the one before it.
    if (bytes == 0 && (count_ == 0 || at(0).size != 0 || at(0).is_item != 0)) break;
  }
  if (count_ == 0) release_memory();
}

void SendQueue::drop_oldest(uint64_t bytes, uint32_t packets, Finished* finished) {
  // The first packet that no write has touched.
  size_t first = in_flight_;
  const bool inside =
      first == 0 ? (front_offset_ != 0 || front_started_) : !at(first - 1).is_end() && at(first - 1).is_item == 0;
  if (inside) {
    while (first < count_ && !at(first).is_end()) ++first;
    ++first;
  }
  Finished gone;
  for (;;) {
    while (first < count_ && (at(first).is_item != 0 || at(first).lasts != 0)) ++first;
    if (first >= count_ || (gone.bytes >= bytes && gone.packets >= packets)) break;
    // One run of packets between two that stay.
    uint64_t run_bytes = gone.bytes;
    uint32_t run_packets = gone.packets;
    size_t last = first;
    while (last < count_ && at(last).is_item == 0 && at(last).lasts == 0 &&
           (run_bytes < bytes || run_packets < packets || (last != first && at(last - 1).ends_packet == 0))) {
      run_bytes += at(last).size;
      run_packets += at(last).ends_packet;
      ++last;
    }
    remove_range(first, last, &gone);
  }
  if (finished == nullptr) return;
  finished->bytes += gone.bytes;
  finished->packets += gone.packets;
  finished->tokens.insert(finished->tokens.end(), gone.tokens.begin(), gone.tokens.end());
}

void SendQueue::clear(Finished* finished) { remove_range(in_flight_, count_, finished); }

void SendQueue::remove_range(size_t first, size_t last, Finished* finished) {
  if (first >= last) return;
  for (size_t i = first; i < last; ++i) {
    Entry& entry = at(i);
    const size_t left = i == 0 ? entry.size - front_offset_ : entry.size;
    totals_.bytes -= entry.counted(left);
    totals_.packets -= entry.ends_packet;
    if (finished != nullptr) {
      finished->bytes += entry.counted(left);
      finished->packets += entry.ends_packet;
      if (entry.token != 0) finished->tokens.push_back(entry.token);
    }
    entry.owner->release();
  }
  // The side in front is short (what a write has begun on), so that is the one that moves.
  const size_t gone = last - first;
  for (size_t i = first; i-- > 0;) at(i + gone) = at(i);
  head_ = (head_ + gone) & (capacity_ - 1);
  count_ -= gone;
  if (first == 0) {
    front_offset_ = 0;
    front_started_ = false;
  }
  if (count_ == 0) release_memory();
}

void SendQueue::push_entry(const uint8_t* data, size_t size, SendBuffer* owner, uint32_t token, bool ends) {
  if (count_ == capacity_) grow();
  Entry& entry = at(count_++);
  entry.data = data;
  entry.owner = owner;
  entry.size = static_cast<uint32_t>(size);
  entry.token = token & 0x1fffffffu;
  entry.is_item = 0;
  entry.lasts = 0;
  entry.ends_packet = ends ? 1u : 0u;
  totals_.bytes += size;
  totals_.packets += ends ? 1u : 0u;
}

void SendQueue::pop_front(Finished* finished, bool report) {
  Entry& entry = at(0);
  if (entry.ends_packet != 0) {
    --totals_.packets;
    if (report && finished != nullptr) {
      ++finished->packets;
      if (entry.token != 0) finished->tokens.push_back(entry.token);
    }
  }
  front_started_ = !entry.is_end();
  if (finished != nullptr) finished->bytes += entry.counted(entry.size);
  entry.owner->release();
  head_ = (head_ + 1) & (capacity_ - 1);
  --count_;
  front_offset_ = 0;
}

uint8_t* SendQueue::reserve_copy(size_t size, SendBlock** block) {
  if (tail_block_ == nullptr || tail_block_->room() < size) {
    if (tail_block_ != nullptr) tail_block_->release();
    // The first packet after silence gets a small block, a queue that builds up gets big ones.
    const size_t usual = count_ == 0 ? SendBlock::kSmall : SendBlock::kBig;
    tail_block_ = SendBlock::create((std::max)(usual, size));
  }
  *block = tail_block_;
  return tail_block_->grow(size);
}

void SendQueue::grow() {
  const size_t wider = capacity_ * 4;
  Entry* entries = static_cast<Entry*>(std::malloc(wider * sizeof(Entry)));
  if (entries == nullptr) std::abort();
  for (size_t i = 0; i < count_; ++i) entries[i] = at(i);
  if (entries_ != inline_) std::free(entries_);
  entries_ = entries;
  capacity_ = wider;
  head_ = 0;
}

void SendQueue::release_memory() {
  if (entries_ != inline_) {
    std::free(entries_);
    entries_ = inline_;
    capacity_ = kInlineEntries;
  }
  head_ = 0;
  front_offset_ = 0;
  front_started_ = false;
  for (SendBlock** block : {&tail_block_, &front_block_}) {
    if (*block == nullptr) continue;
    (*block)->release();
    *block = nullptr;
  }
}

}  // namespace iocp
