// The files that a connection sends and receives: their list, their place in its streams, their records.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "win/connection.h"
#include "win/engine.h"
#include "win/socket_calls.h"

namespace iocp {
namespace {

// Above the cap of the send queue, for what ends tell each other about files.
constexpr uint64_t kControlReserve = 1024 * 1024;

template <class File>
bool take_out(std::vector<File*>* files, const File* file) {
  const auto found = std::find(files->begin(), files->end(), file);
  if (found == files->end()) return false;
  files->erase(found);
  return true;
}

}  // namespace

// One whose place was reserved is filled; any other gets its place now.
bool Connection::send_file(std::unique_ptr<TransferFile>* file, const SendFileOptions& options) {
  if (options.framed) {
    FrameEnvelope envelope;
    if (!send_framing()->encode(uint64_t{options.chunk} + kTransferChunkHeader, &envelope)) return false;
  }
  if (!options.transmit && calls::associate(engine_->port(), (*file)->handle()) != 0) return false;
  const ProfileRef profile = send_profile();
  TransferFrame start;
  start.kind = TransferKind::start;
  start.id = options.id;
  start.number = options.start;
  if (options.framed && !push_transfer(profile->send.get(), start)) return false;
  SendFile* sent = nullptr;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || shut_down_) return false;
    sent = find_sent_locked(options.id);
    if (sent != nullptr) {
      sent->add_ref();
      sent->fill(std::move(*file), options);
      if (options.length == 0 && send_.remove_item(sent)) sent->left_queue();
    } else {
      sent = new SendFile(this, engine_, profile, std::move(*file), options);
      add_sent_locked(sent, !options.framed && (options.held || options.length != 0));
    }
  }
  sent->advance();
  sent->release();
  return true;
}

bool Connection::reserve_file(uint32_t id) {
  SendFileOptions options;
  options.id = id;
  options.framed = false;
  options.held = true;
  const ProfileRef profile = send_profile();
  std::lock_guard<SrwLock> guard(lock_);
  if (closing_ || shut_down_) return false;
  auto* const sent = new SendFile(this, engine_, profile, nullptr, options);
  add_sent_locked(sent, true);
  sent->release();
  return true;
}

// With its first count for the list and another one for the caller.
void Connection::add_sent_locked(SendFile* file, bool queued) {
  if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>();
  files_->sent.push_back(file);
  file->add_ref();
  if (!queued) return;
  file->add_ref();
  send_.push_item(file);
}

SendFile* Connection::find_sent_locked(uint32_t id) {
  if (files_ == nullptr) return nullptr;
  for (SendFile* one : files_->sent) {
    if (one->id() == id) return one;
  }
  return nullptr;
}

bool Connection::receive_file(const FileHome& file, const ReceiveFileOptions& options) {
  if (calls::associate(engine_->port(), (*file)->handle()) != 0) return false;
  ReceiveFile* received = nullptr;
  bool wake = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || (options.raw && raw_file_.load(std::memory_order_relaxed) != nullptr)) return false;
    if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>();
    received = new ReceiveFile(this, engine_, file, options);
    files_->received.push_back(received);
    received->add_ref();
    if (options.raw && options.bytes != 0) {
      received->add_ref();
      raw_file_.store(received, std::memory_order_release);
      wake = true;
    }
  }
  if (options.raw && options.bytes == 0) received->finish();
  received->release();
  if (wake) request(kReceive);  // what has been read already may be the file's
  return true;
}

void Connection::cancel_file(bool received, uint32_t id) {
  SendFile* sent = nullptr;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (!received) sent = find_sent_locked(id);
    if (sent != nullptr) {
      sent->add_ref();
      if (sent->cancel() && send_.remove_item(sent)) sent->left_queue();
    }
  }
  if (sent != nullptr) {
    sent->take_back_read();
    sent->advance();
    sent->release();
    return request(kSend);  // what waited behind it
  }
  if (!received) return;
  if (ReceiveFile* file = find_received(id, false)) {
    file->cancel();
    file->release();
  }
}

bool Connection::push_transfer(const Framing* framing, const TransferFrame& frame) {
  uint8_t bytes[kTransferMaxControl];
  const size_t size = encode_transfer(frame, bytes, sizeof(bytes));
  return size != 0 && push_packet(framing, {bytes, size}, nullptr);
}

bool Connection::push_control(ByteSpan packet, uint32_t before) { return push_packet(send_framing(), packet, &before); }

// One of a number, or without one the first; they stand in the list as in the queue.
SendFile* Connection::find_held_locked(uint32_t id) {
  if (files_ == nullptr) return nullptr;
  for (SendFile* one : files_->sent) {
    if ((id == 0 || one->id() == id) && one->is_held()) return one;
  }
  return nullptr;
}

bool Connection::push_packet(const Framing* framing, ByteSpan packet, const uint32_t* before) {
  FrameEnvelope envelope;
  if (!framing->encode(packet.size, &envelope)) return false;
  bool schedule = false;
  bool overflow = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || shut_down_) return false;
    // Answers are not dropped; a peer that asks for them and takes none must not fill the memory.
    overflow = send_.totals().bytes > profile_->hard_cap + kControlReserve;
    if (!overflow) {
      const ByteSpan header{envelope.header, envelope.header_size};
      const ByteSpan trailer{envelope.trailer, envelope.trailer_size};
      const SendFile* const held = before == nullptr ? nullptr : find_held_locked(*before);
      if (held == nullptr || !send_.push_before(held, header, packet, trailer)) {
        send_.push_lasting(header, packet, trailer);
      }
      schedule = schedule_send_locked();
    }
  }
  if (overflow) {
    close(CloseCause::overflow, 0, true);
    return false;
  }
  if (schedule) engine_->schedule(this);
  return true;
}

void Connection::start_sent_file(uint32_t id) {
  SendFile* sent = nullptr;
  {
    std::lock_guard<SrwLock> guard(lock_);
    sent = find_sent_locked(id);
    if (sent == nullptr) return;
    sent->add_ref();
    sent->let_go();
  }
  sent->advance();
  sent->release();
}

void Connection::hold_end(bool on) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    end_held_ = on;
  }
  if (!on) request(kSend);  // our FIN may have waited for it
}

// True when the caller has to schedule the connection; it has a count then.
bool Connection::schedule_send_locked() {
  if (sending_) return false;
  requests_ |= kSend;
  if (std::exchange(scheduled_, true)) return false;
  add_ref();
  return true;
}

// A piece of the file is ready. False when the file has been cancelled.
bool Connection::show_file(SendFile* file) {
  bool schedule = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_) return true;
    if (file->framed()) {
      if (file->is_cancelled()) {
        file->left_queue();
        return false;
      }
      file->add_ref();
      send_.push_item(file);
    }
    schedule = schedule_send_locked();
  }
  if (schedule) engine_->schedule(this);
  return true;
}

// Sending strand: a piece that the system takes from the file itself.
uint32_t Connection::issue_transmit(const SendFile::Piece& piece, DWORD* bytes) {
  std::unique_ptr<TransmitOperation>& transmit = files_->transmit;
  if (transmit == nullptr) transmit = std::make_unique<TransmitOperation>();
  TransmitOperation* const operation = transmit.get();
  operation->connection.store(this);
  operation->prepare_at(piece.file_offset);
  const uint32_t error = calls::transmit_file(engine_->port(), socket_.get(), piece.file, piece.file_size,
                                              piece.head.data, piece.head.size, operation);
  // Done at once, without a packet: the operation is this thread's again.
  if (error == 0 && engine_->skips_on_success()) *bytes = static_cast<DWORD>(operation->InternalHigh);
  if (error == 0 || error == WSA_IO_PENDING) return error;
  if (operation->connection.exchange(nullptr) == nullptr) return WSA_IO_PENDING;  // its packet was faster
  engine_->keep_for_late_packet(std::move(transmit));
  return error;
}

void Connection::on_transmit_complete(Operation* self, uint32_t error, uint32_t bytes) {
  // No status was written: the call has failed at once, and tells so itself.
  if (static_cast<uint32_t>(self->Internal) == static_cast<uint32_t>(STATUS_PENDING)) return;
  Connection* connection = static_cast<TransmitOperation*>(self)->connection.exchange(nullptr);
  if (connection != nullptr) connection->write_complete(error, bytes);
}

void Connection::send_file_ended(SendFile* file, FileOutcome outcome, uint32_t error, uint64_t bytes,
                                 const uint8_t* hash) {
  engine_->cancel(file->timer());
  const bool begun = file->has_begun();
  report_file_end(RecordKind::send_file_end, file->id(), outcome, error, begun, bytes, hash);
  bool mine = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    mine = take_out(&files_->sent, file);
    // A raw file of which no byte has gone gives its place up; any other keeps what follows it back.
    if (!begun && send_.remove_item(file)) file->left_queue();
  }
  if (mine) file->release();
  request(kSend);  // what waited behind it
}

void Connection::receive_file_ended(ReceiveFile* file, FileOutcome outcome, uint32_t error, uint64_t bytes,
                                    const uint8_t* hash) {
  report_file_end(RecordKind::receive_file_end, file->id(), outcome, error, true, bytes, hash);
  bool mine = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    mine = take_out(&files_->received, file);
  }
  if (mine) file->release();
}

// [u32 id, u32 outcome, u32 error, u32 begun, u64 bytes, SHA-256], little-endian as the machine.
void Connection::report_file_end(RecordKind kind, uint32_t id, FileOutcome outcome, uint32_t error, bool begun,
                                 uint64_t bytes, const uint8_t* hash) {
  uint8_t blob[24 + Sha256::kSize];
  const uint32_t words[4] = {id, static_cast<uint32_t>(outcome), error, begun ? 1u : 0u};
  std::memcpy(blob, words, sizeof(words));
  std::memcpy(blob + 16, &bytes, sizeof(bytes));
  std::memcpy(blob + 24, hash, Sha256::kSize);
  engine_->deliver({static_cast<uint32_t>(kind), id_.slot, id_.generation, 0, 0, 0}, blob, sizeof(blob), nullptr);
}

void Connection::report_file_progress(RecordKind kind, uint32_t id, uint64_t bytes) {
  engine_->deliver({static_cast<uint32_t>(kind), id_.slot, id_.generation, id, static_cast<uint32_t>(bytes),
                    static_cast<uint32_t>(bytes >> 32)},
                   nullptr, 0, nullptr);
}

// Whether the framing's packets have a type, any bytes and any length.
bool Connection::carries_transfers(const Framing& framing) const {
  FrameEnvelope envelope;
  return profile_->transfers && framing.type_byte() && !framing.looks_inside() &&
         framing.encode(kTransferChunkHeader, &envelope) && framing.encode(kTransferChunkHeader + 1, &envelope);
}

// With a count for the caller. A peer's frame never finds a raw file.
ReceiveFile* Connection::find_received(uint32_t id, bool framed_only) {
  std::lock_guard<SrwLock> guard(lock_);
  if (files_ == nullptr) return nullptr;
  for (ReceiveFile* file : files_->received) {
    if (file->id() != id || (framed_only && file->is_raw())) continue;
    file->add_ref();
    return file;
  }
  return nullptr;
}

// A chunk whose file is not there is what was on its way when the file was aborted.
void Connection::take_chunk(uint32_t id, const uint8_t* data, size_t size) {
  ReceiveFile* file = find_received(id);
  if (file == nullptr) return;
  (void)file->take(data, size);
  file->release();
}

void Connection::start_file(uint32_t id, uint64_t offset) {
  ReceiveFile* file = find_received(id);
  if (file == nullptr) return;
  file->start(offset);
  file->release();
}

void Connection::finish_file(uint32_t id) {
  ReceiveFile* file = find_received(id);
  if (file == nullptr) return;
  file->finish();
  file->release();
}

// Receiving strand, at a packet boundary: what is there belongs to the raw file, up to its end.
void Connection::take_raw() {
  ReceiveFile* file = raw_file_.load(std::memory_order_acquire);
  const size_t taken = file->take(current_data_ + current_offset_, current_size_ - current_offset_);
  consumed(static_cast<uint32_t>(taken));
  if (!file->all_taken()) return;
  raw_file_.store(nullptr, std::memory_order_release);
  file->finish();
  file->release();
}

// Receiving strand, when nothing more will come: a raw file that misses bytes never gets them.
void Connection::cut_raw_off() {
  ReceiveFile* file = raw_file_.exchange(nullptr, std::memory_order_acq_rel);
  if (file == nullptr) return;
  file->cut_off();
  file->release();
}

}  // namespace iocp
