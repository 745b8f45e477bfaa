// From the bytes that the receiving strand has read to records in the delivery queue.
#include <cstring>
#include <utility>

#include "win/connection/connection.h"
#include "win/connection/packet_sink.h"
#include "win/connection/receiver.h"

namespace iocp {
namespace {

// Whether the framing's packets have a type, any bytes and any length.
bool carries_transfers(const Framing& framing) {
  FrameEnvelope envelope;
  return framing.type_byte() && !framing.looks_inside() && framing.encode(kTransferChunkHeader, &envelope) &&
         framing.encode(kTransferChunkHeader + 1, &envelope);
}

}  // namespace

// What is not announced waits for no program.
bool Receiver::may_deliver() const {
  if (preamble_) return true;
  if (flow_.paused.load(std::memory_order_acquire)) return false;
  if (flow_.full_files.load(std::memory_order_acquire) != 0) return false;
  if (flow_.raw_file.load(std::memory_order_acquire) != nullptr && frame_.at_rest()) return true;
  return !connection_->profile().demand || flow_.demand.load(std::memory_order_acquire) > 0;
}

void Receiver::use(const Framing& framing, const SharedProfile& profile) {
  framing_ = &framing;
  decode_.takes_transfers = profile.transfers && carries_transfers(framing);
  decode_.takes_iocps_files = profile.transfers && framing.iocps_files();
}

// Decodes what has been read. False when the strand has to stop.
bool Receiver::decode_current() {
  if (over_delivery_bound()) return false;
  if (preamble_) return take_preamble();
  if (flow_.next_framing.load(std::memory_order_acquire) != nullptr && frame_.at_rest())
    use(connection_->take_receive_framing(), connection_->profile());
  if (frame_.at_rest() && flow_.raw_file.load(std::memory_order_acquire) != nullptr) {
    take_raw();
    return true;
  }
  const uint8_t* const begin = current_data_ + current_offset_;
  const size_t size = current_size_ - current_offset_;
  if (rates_ != nullptr) rates_->refill(rates_clock());
  PacketSink sink(connection_, &flow_, &decode_, rates_.get(), begin, begin + size);
  const DecodeResult result = framing_->decode(frame_, begin, size, sink);
  sink.flush();
  const uint32_t packets = sink.packets();
  packets_read_.fetch_add(packets, std::memory_order_relaxed);
  connection_->engine()->count(Counter::packets_in, packets);
  if (result.error != FrameError::none) {
    protocol_error(result.error);
    return false;
  }
  if (decode_.bad_transfer) {
    protocol_error(FrameError::bad_transfer);
    return false;
  }
  consumed(static_cast<uint32_t>(result.consumed));
  if (sink.has_ended_packet()) note_ended_packet();
  if (connection_->watch() != nullptr) note_decoded(sink.has_ended_packet());
  return true;
}

// The bytes behind it stay where they are, for the framing.
bool Receiver::take_preamble() {
  size_t used = 0;
  const Preamble::Step step = preamble_->take(current_data_ + current_offset_, current_size_ - current_offset_, &used);
  consumed(static_cast<uint32_t>(used));
  if (step == Preamble::Step::more) return true;
  const Ref<Preamble> over = std::move(preamble_);
  over->end();
  if (step == Preamble::Step::done) {
    if (rates_ != nullptr) rates_->received(current_size_ - current_offset_, rates_clock());
    return connection_->end_preamble(*over);
  }
  connection_->refuse(over->failure());
  return false;  // nothing behind it is looked at
}

// Receiving strand, at a packet boundary: what is there belongs to the raw file, up to its end.
void Receiver::take_raw() {
  ReceiveFile* file = flow_.raw_file.load(std::memory_order_acquire);
  const size_t taken = file->take(current_data_ + current_offset_, current_size_ - current_offset_);
  consumed(static_cast<uint32_t>(taken));
  note_ended_packet();
  if (!file->all_taken()) return;
  const Ref<ReceiveFile> over = Ref<ReceiveFile>::adopt(file);
  flow_.raw_file.store(nullptr, std::memory_order_release);
  over->finish();
}

// Receiving strand, when nothing more will come: a raw file that misses bytes never gets them.
void Receiver::cut_raw_off() {
  if (const auto file = Ref<ReceiveFile>::adopt(flow_.raw_file.exchange(nullptr, std::memory_order_acq_rel)))
    file->cut_off();
}

void Receiver::consumed(uint32_t bytes) {
  current_offset_ += bytes;
  if (current_offset_ == current_size_) {
    current_.reset();
    rest_.reset();
    current_data_ = nullptr;
    current_offset_ = current_size_ = 0;
  }
}

void Receiver::protocol_error(FrameError error) {
  size_t size = 0;
  const uint8_t* header = frame_.header(&size);
  connection_->engine()->count(Counter::protocol_errors, 1);
  connection_->engine()->deliver(
      record_of(RecordKind::protocol_error, connection_->id(), 0, 0, static_cast<uint32_t>(error)), header, size,
      &decode_.credit);
  connection_->close(CloseCause::protocol_error, static_cast<uint32_t>(error), true);
}

// What waits for a pause to end, or for room, must not keep a whole read buffer.
void Receiver::shrink_rest() {
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
bool Receiver::over_delivery_bound() {
  if (parked_.exchange(true, std::memory_order_acq_rel)) return true;
  if (connection_->engine()->delivery().park_if_full(connection_->id(), &decode_.credit)) {
    connection_->engine()->count(Counter::parks, 1);
    return true;
  }
  if (PacketRouter* router = connection_->engine()->router();
      router != nullptr && router->park(connection_->id(), decode_.has_routed)) {
    connection_->engine()->count(Counter::parks, 1);
    return true;
  }
  parked_.store(false, std::memory_order_release);
  return false;
}

}  // namespace iocp
