#pragma once
// What a decoder finds, on its way to the delivery queue or to the workers. Used by a connection's receiving strand
// only.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>

#include "core/framing/framing.h"
#include "win/connection/connection.h"
#include "win/connection/receive_flow.h"
#include "win/connection/receive_rates.h"

namespace iocp {

// Passes what is decoded on to the delivery queue, many packets under one hold of its lock. A packet in
// the bytes that have been read stays there until flush(); any other is valid during its call only.
class PacketSink final : public FrameSink {
 public:
  PacketSink(Connection* connection, ReceiveFlow* flow, DecodeState* state, ReceiveRates* rates, const uint8_t* begin,
             const uint8_t* end)
      : connection_(connection),
        flow_(flow),
        state_(state),
        rates_(rates),
        router_(connection->engine()->router()),
        begin_(begin),
        end_(end) {}

  bool on_packet(const uint8_t* data, size_t size) override {
    ended_packet_ = true;
    if (is_transfer(data, size)) return on_transfer(data, size);
    if (!admits(size)) return drop_packet();
    ++packets_;
    if (is_routed(data, size)) {
      route(data, size);
    } else if (may_be_iocps_file(data, size)) {
      // JavaScript knows whether it is about a file, or a packet like any other.
      add(RecordKind::transfer, data, size);
    } else {
      add(RecordKind::packet, data, size);
    }
    return allow_next();
  }
  // A big one for JavaScript goes there in the block that it was gathered in. It takes a chunk of its own
  // with it, so the block has to be large against that: else what waits would be more than is counted.
  bool on_gathered_packet(GatheredPacket* held, size_t skip) override {
    const uint8_t* const data = held->data() + skip;
    const size_t size = held->size() - skip;
    if (size <= DeliveryChunk::kPayloadBytes || !held->has_block() || is_transfer(data, size) ||
        is_routed(data, size) || may_be_iocps_file(data, size)) {
      return on_packet(data, size);
    }
    ended_packet_ = true;
    if (!admits(size)) return drop_packet();
    ++packets_;
    flush();  // what came before it
    const size_t whole = held->size();
    const Record record = record_of(RecordKind::packet, connection_->id());
    Delivery::Writer(connection_->engine()->delivery())
        .append_block(record, held->take_block(), whole, skip, &state_->credit);
    return allow_next();
  }
  bool on_stream_begin(uint64_t length) override {
    if (!admits(length)) {
      rates_->drops_stream = true;
      return goes_on();
    }
    add(RecordKind::stream_begin, nullptr, 0, static_cast<uint32_t>(length), static_cast<uint32_t>(length >> 32));
    return goes_on();
  }
  bool on_stream_data(const uint8_t* data, size_t size) override {
    if (rates_ != nullptr && rates_->drops_stream) return goes_on();
    add(RecordKind::stream_data, data, size);
    return goes_on();
  }
  bool on_stream_end() override {
    ended_packet_ = true;
    if (rates_ != nullptr && std::exchange(rates_->drops_stream, false)) return drop_packet();
    ++packets_;
    add(RecordKind::stream_end, nullptr, 0);
    return allow_next();
  }
  void on_discarded(uint64_t frame_size, const uint8_t* header, size_t header_size) override {
    ended_packet_ = true;
    // As a packet; its bytes are not let through.
    if (!admits(0)) {
      drop_packet();
      return;
    }
    uint8_t blob[8 + FramingOptions::max_delimiter];
    for (int i = 0; i < 8; ++i) blob[i] = static_cast<uint8_t>(frame_size >> (8 * i));
    if (header_size > sizeof(blob) - 8) header_size = sizeof(blob) - 8;
    if (header_size != 0) std::memcpy(blob + 8, header, header_size);
    add(RecordKind::discarded, blob, 8 + header_size);
  }

  void flush() {
    flush_routed();
    if (count_ == 0) return;
    Delivery::Writer writer(connection_->engine()->delivery());
    for (size_t i = 0; i < count_; ++i) {
      writer.append(staged_[i].record, staged_[i].data, staged_[i].size, &state_->credit);
    }
    count_ = 0;
  }
  uint32_t packets() const { return packets_; }
  // A packet has come to its end, whatever became of it, or has begun to be discarded.
  bool has_ended_packet() const { return ended_packet_; }

 private:
  struct Staged {
    Record record;
    const uint8_t* data;
    size_t size;
  };
  static constexpr size_t kStaged = 128;

  void add(RecordKind kind, const uint8_t* data, size_t size, uint32_t a = 0, uint32_t b = 0) {
    staged_[count_++] = {record_of(kind, connection_->id(), a, b), data, size};
    if (!stays(data, size) || count_ == kStaged) flush();
  }
  bool is_transfer(const uint8_t* data, size_t size) const {
    return state_->takes_transfers && size != 0 && is_transfer_type(data[0]);
  }
  bool is_routed(const uint8_t* data, size_t size) const { return router_ != nullptr && router_->routes(data, size); }
  bool may_be_iocps_file(const uint8_t* data, size_t size) const {
    return state_->takes_iocps_files && is_iocps_file(data, size);
  }
  // To the workers, and never to the delivery queue.
  void route(const uint8_t* data, size_t size) {
    state_->has_routed = true;
    routed_[routed_count_++] = {data, size};
    if (!stays(data, size) || routed_count_ == kStaged) flush_routed();
  }
  void flush_routed() {
    if (routed_count_ == 0) return;
    router_->add_packets(*connection_, routed_, routed_count_, &state_->credit);
    routed_count_ = 0;
  }
  bool stays(const uint8_t* data, size_t size) const {
    const std::less<const uint8_t*> before;
    return size == 0 || (!before(data, begin_) && before(data, end_));
  }
  // Chunks go to disk; everything else is for JavaScript, which sees whole and possible frames only.
  bool on_transfer(const uint8_t* data, size_t size) {
    TransferFrame frame;
    if (!decode_transfer(data, size, &frame)) {
      state_->bad_transfer = true;
      return false;
    }
    // A file that is not there is one that was aborted while this was on its way.
    ConnectionFiles* const files = connection_->files_if_any();
    if (frame.kind == TransferKind::chunk) {
      if (files != nullptr) files->take_chunk(frame.id, frame.rest, frame.rest_size);
      return goes_on();
    }
    add(RecordKind::transfer, data, size);
    if (frame.kind == TransferKind::start && files != nullptr) files->start_received(frame.id, frame.number);
    if (frame.kind == TransferKind::done) {
      flush();  // before the file's own end is told
      if (files != nullptr) files->finish_received(frame.id);
    }
    return goes_on();
  }
  bool admits(uint64_t size) { return rates_ == nullptr || rates_->admit(size); }
  // One that its peer has sent too fast. It was not asked for.
  bool drop_packet() {
    if (!rates_->exceeded()) connection_->engine()->count(Counter::rate_drops, 1);
    return goes_on();
  }
  bool allow_next() {
    if (connection_->profile().demand && flow_->demand.fetch_sub(1, std::memory_order_acq_rel) <= 1) {
      return false;
    }
    return goes_on();
  }
  bool goes_on() const { return flow_->goes_on() && (rates_ == nullptr || (!rates_->waits() && !rates_->exceeded())); }

  Connection* const connection_;
  ReceiveFlow* const flow_;
  DecodeState* const state_;
  ReceiveRates* const rates_;
  PacketRouter* const router_;
  const uint8_t* const begin_;
  const uint8_t* const end_;
  uint32_t packets_ = 0;
  bool ended_packet_ = false;
  size_t count_ = 0;
  Staged staged_[kStaged];
  size_t routed_count_ = 0;
  PacketRouter::Packet routed_[kStaged];
};

}  // namespace iocp
