// The files that a connection sends and receives: their list, their place in its streams, their records.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "win/connection.h"
#include "win/engine.h"
#include "win/socket_calls.h"

namespace iocp {
namespace {

template <class File>
bool take_out(std::vector<File*>* files, const File* file) {
  const auto found = std::find(files->begin(), files->end(), file);
  if (found == files->end()) return false;
  files->erase(found);
  return true;
}

}  // namespace

ConnectionFiles::~ConnectionFiles() {
  for (SendFile* file : sent) file->release();
  for (ReceiveFile* file : received) file->release();
}

bool Connection::send_file(std::unique_ptr<TransferFile> file, const SendFileOptions& options) {
  if (options.framed) {
    FrameEnvelope envelope;
    if (!send_framing_->encode(uint64_t{options.chunk} + kTransferChunkHeader, &envelope)) return false;
  }
  if (!options.transmit && calls::associate(engine_->port(), file->handle()) != 0) return false;
  const Framing* const framing = send_framing_;
  TransferFrame start;
  start.kind = TransferKind::start;
  start.id = options.id;
  start.number = options.start;
  if (options.framed && !push_transfer(framing, start)) return false;
  auto* sent = new SendFile(this, engine_, framing, std::move(file), options);
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || shut_down_) {
      sent->release();
      return false;
    }
    if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>();
    files_->sent.push_back(sent);  // the first count is the list's
    sent->add_ref();
    if (!options.framed && options.length != 0) {
      sent->add_ref();
      send_.push_item(sent);
    }
  }
  sent->advance();
  sent->release();
  return true;
}

bool Connection::receive_file(std::unique_ptr<TransferFile> file, const ReceiveFileOptions& options) {
  if (calls::associate(engine_->port(), file->handle()) != 0) return false;
  auto* received = new ReceiveFile(this, engine_, std::move(file), options);
  bool wake = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || (options.raw && raw_file_.load(std::memory_order_relaxed) != nullptr)) {
      received->release();
      return false;
    }
    if (files_ == nullptr) files_ = std::make_unique<ConnectionFiles>();
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
    if (!received && files_ != nullptr) {
      for (SendFile* one : files_->sent) {
        if (one->id() == id) sent = one;
      }
    }
    if (sent != nullptr) {
      sent->add_ref();
      if (sent->cancel() && send_.remove_item(sent)) sent->left_queue();
    }
  }
  if (sent != nullptr) {
    sent->advance();
    sent->release();
    return request(kSend);  // what waited behind it
  }
  if (!received) return;
  if (ReceiveFile* file = find_received(id)) {
    file->cancel();
    file->release();
  }
}

bool Connection::push_transfer(const Framing* framing, const TransferFrame& frame) {
  uint8_t bytes[kTransferMaxControl];
  const size_t size = encode_transfer(frame, bytes, sizeof(bytes));
  FrameEnvelope envelope;
  if (size == 0 || !framing->encode(size, &envelope)) return false;
  bool schedule = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (closing_ || shut_down_) return false;
    send_.push_copy({envelope.header, envelope.header_size}, {bytes, size},
                    {envelope.trailer, envelope.trailer_size}, 0);
    schedule = schedule_send_locked();
  }
  if (schedule) engine_->schedule(this);
  return true;
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

void Connection::send_file_ended(SendFile* file, FileOutcome outcome, uint32_t error, uint64_t bytes,
                                 const uint8_t* hash) {
  engine_->cancel(file->timer());
  report_file_end(RecordKind::send_file_end, file->id(), outcome, error, bytes, hash);
  bool mine = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    mine = take_out(&files_->sent, file);
  }
  if (mine) file->release();
  request(kSend);  // our FIN may have waited for it
}

void Connection::receive_file_ended(ReceiveFile* file, FileOutcome outcome, uint32_t error,
                                    uint64_t bytes, const uint8_t* hash) {
  report_file_end(RecordKind::receive_file_end, file->id(), outcome, error, bytes, hash);
  bool mine = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    mine = take_out(&files_->received, file);
  }
  if (mine) file->release();
  request(kSend);
}

// [u32 id, u32 outcome, u32 error, u32 0, u64 bytes, SHA-256], little-endian as the machine.
void Connection::report_file_end(RecordKind kind, uint32_t id, FileOutcome outcome, uint32_t error,
                                 uint64_t bytes, const uint8_t* hash) {
  uint8_t blob[24 + Sha256::kSize];
  const uint32_t words[4] = {id, static_cast<uint32_t>(outcome), error, 0};
  std::memcpy(blob, words, sizeof(words));
  std::memcpy(blob + 16, &bytes, sizeof(bytes));
  std::memcpy(blob + 24, hash, Sha256::kSize);
  engine_->deliver({static_cast<uint32_t>(kind), id_.slot, id_.generation, 0, 0, 0}, blob, sizeof(blob),
                   nullptr);
}

void Connection::report_file_progress(RecordKind kind, uint32_t id, uint64_t bytes) {
  engine_->deliver({static_cast<uint32_t>(kind), id_.slot, id_.generation, id,
                    static_cast<uint32_t>(bytes), static_cast<uint32_t>(bytes >> 32)},
                   nullptr, 0, nullptr);
}

// Whether the framing's packets have a type, any bytes and any length.
bool Connection::carries_transfers(const Framing& framing) const {
  FrameEnvelope envelope;
  return profile_->transfers && framing.type_byte() && !framing.looks_inside() &&
         framing.encode(kTransferChunkHeader, &envelope) && framing.encode(kTransferChunkHeader + 1, &envelope);
}

// With a count for the caller.
ReceiveFile* Connection::find_received(uint32_t id) {
  std::lock_guard<SrwLock> guard(lock_);
  if (files_ == nullptr) return nullptr;
  for (ReceiveFile* file : files_->received) {
    if (file->id() != id) continue;
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

// With the last count: nothing of them is pending. Their handles are closed before the CLOSE record.
void Connection::forget_files() {
  if (ReceiveFile* raw = raw_file_.exchange(nullptr)) raw->release();
  if (files_ == nullptr) return;
  for (SendFile* file : files_->sent) engine_->cancel(file->timer());
  files_.reset();
}

}  // namespace iocp
