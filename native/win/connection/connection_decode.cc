// From the bytes that the receiving strand has read to records in the delivery queue.
#include <cstring>
#include <utility>

#include "win/connection/connection.h"
#include "win/connection/packet_sink.h"

namespace iocp {

bool Connection::may_deliver() const {
  if (paused_.load(std::memory_order_acquire)) return false;
  if (disk_full_.load(std::memory_order_acquire) != 0) return false;
  if (raw_file_.load(std::memory_order_acquire) != nullptr && frame_.at_rest()) return true;
  return !profile_->demand || demand_.load(std::memory_order_acquire) > 0;
}

// Whether the framing's packets have a type, any bytes and any length.
bool Connection::carries_transfers(const Framing& framing) const {
  FrameEnvelope envelope;
  return profile_->transfers && framing.type_byte() && !framing.looks_inside() &&
         framing.encode(kTransferChunkHeader, &envelope) && framing.encode(kTransferChunkHeader + 1, &envelope);
}

// The receiving strand alone uses the old one, and does not any more.
void Connection::take_next_framing() {
  ProfileRef old;
  std::lock_guard<SrwLock> guard(lock_);
  std::swap(old, changed_framings_->receive);
  std::swap(changed_framings_->receive, changed_framings_->next_receive);
  next_receive_framing_.store(nullptr, std::memory_order_release);
  const Framing& framing = *changed_framings_->receive->receive;
  receive_framing_ = &framing;
  takes_transfers_ = carries_transfers(framing);
  takes_iocps_files_ = profile_->transfers && framing.iocps_files();
}

// Decodes what has been read. False when the strand has to stop.
bool Connection::decode_current() {
  if (over_delivery_bound()) return false;
  if (next_receive_framing_.load(std::memory_order_acquire) != nullptr && frame_.at_rest()) take_next_framing();
  if (frame_.at_rest() && raw_file_.load(std::memory_order_acquire) != nullptr) {
    take_raw();
    return true;
  }
  const uint8_t* const begin = current_data_ + current_offset_;
  const size_t size = current_size_ - current_offset_;
  PacketSink sink(this, begin, begin + size);
  const DecodeResult result = receive_framing_->decode(frame_, begin, size, sink);
  sink.flush();
  const uint32_t packets = sink.packets();
  packets_read_.fetch_add(packets, std::memory_order_relaxed);
  engine_->count(Counter::packets_in, packets);
  if (result.error != FrameError::none) {
    protocol_error(result.error);
    return false;
  }
  if (bad_transfer_) {
    protocol_error(FrameError::bad_transfer);
    return false;
  }
  consumed(static_cast<uint32_t>(result.consumed));
  return true;
}

// Receiving strand, at a packet boundary: what is there belongs to the raw file, up to its end.
void Connection::take_raw() {
  ReceiveFile* file = raw_file_.load(std::memory_order_acquire);
  const size_t taken = file->take(current_data_ + current_offset_, current_size_ - current_offset_);
  consumed(static_cast<uint32_t>(taken));
  if (!file->all_taken()) return;
  const Ref<ReceiveFile> over = Ref<ReceiveFile>::adopt(file);
  raw_file_.store(nullptr, std::memory_order_release);
  over->finish();
}

// Receiving strand, when nothing more will come: a raw file that misses bytes never gets them.
void Connection::cut_raw_off() {
  if (const auto file = Ref<ReceiveFile>::adopt(raw_file_.exchange(nullptr, std::memory_order_acq_rel)))
    file->cut_off();
}

void Connection::consumed(uint32_t bytes) {
  current_offset_ += bytes;
  if (current_offset_ == current_size_) {
    current_.reset();
    rest_.reset();
    current_data_ = nullptr;
    current_offset_ = current_size_ = 0;
  }
}

void Connection::protocol_error(FrameError error) {
  size_t size = 0;
  const uint8_t* header = frame_.header(&size);
  engine_->deliver(record_of(RecordKind::protocol_error, id_, 0, 0, static_cast<uint32_t>(error)), header, size,
                   &credit_);
  close(CloseCause::protocol_error, static_cast<uint32_t>(error), true);
}

// What waits for a pause to end, or for room, must not keep a whole read buffer.
void Connection::shrink_rest() {
  const size_t size = current_size_ - current_offset_;
  if (size == 0 || !current_ || size > current_.size() / 2) return;
  rest_.reset(new uint8_t[size]);
  std::memcpy(rest_.get(), current_data_ + current_offset_, size);
  current_data_ = rest_.get();
  current_offset_ = 0;
  current_size_ = static_cast<uint32_t>(size);
  current_.reset();
}

// True when this connection has to wait until JavaScript has caught up; unpark() then comes.
bool Connection::over_delivery_bound() {
  if (parked_.exchange(true, std::memory_order_acq_rel)) return true;
  if (engine_->delivery().park_if_full(id_, &credit_)) {
    engine_->count(Counter::parks, 1);
    return true;
  }
  if (PacketRouter* router = engine_->router(); router != nullptr && router->park(id_, has_routed_)) {
    engine_->count(Counter::parks, 1);
    return true;
  }
  parked_.store(false, std::memory_order_release);
  return false;
}

}  // namespace iocp
