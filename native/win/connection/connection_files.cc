// The files that a connection sends and receives: their list, their place in its streams, their records.
#include "win/connection/connection_files.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "win/connection/connection.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// The list's count; empty when it is not in there.
template <class File>
Ref<File> take_out(std::vector<Ref<File>>* files, const File* file) {
  const auto found =
      std::find_if(files->begin(), files->end(), [&](const Ref<File>& one) { return one.get() == file; });
  if (found == files->end()) return nullptr;
  Ref<File> taken = std::move(*found);
  files->erase(found);
  return taken;
}

}  // namespace

// One whose place was reserved is filled; any other gets its place now.
bool ConnectionFiles::send(std::unique_ptr<TransferFile>* file, const SendFileOptions& options, uint32_t* error) {
  if (options.framed) {
    FrameEnvelope envelope;
    if (!connection_->sender().framing()->encode(uint64_t{options.chunk} + kTransferChunkHeader, &envelope))
      return false;
  }
  if (!options.transmit) *error = calls::associate(connection_->engine()->port(), (*file)->handle());
  if (*error != 0) return false;
  const ProfileRef profile = connection_->send_profile();
  TransferFrame start;
  start.kind = TransferKind::start;
  start.id = options.id;
  start.number = options.start;
  if (options.framed && !push_transfer(profile->send.get(), start)) return false;
  Ref<SendFile> sent;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (connection_->is_over_locked()) return false;
    sent = find_sent_locked(options.id);
    if (sent) {
      sent->fill(std::move(*file), options);
      if (options.length == 0 && connection_->sender().queue_locked().remove_item(sent.get())) sent->left_queue();
    } else {
      sent = add_sent_locked(new SendFile(this, connection_->engine(), profile, std::move(*file), options),
                             !options.framed && (options.held || options.length != 0));
    }
  }
  sent->advance();
  return true;
}

bool ConnectionFiles::reserve(uint32_t id) {
  SendFileOptions options;
  options.id = id;
  options.framed = false;
  options.held = true;
  const ProfileRef profile = connection_->send_profile();
  std::lock_guard<SrwLock> guard(connection_->lock());
  if (connection_->is_over_locked()) return false;
  (void)add_sent_locked(new SendFile(this, connection_->engine(), profile, nullptr, options), true);
  return true;
}

// A new one.
Ref<SendFile> ConnectionFiles::add_sent_locked(SendFile* file, bool queued) {
  Ref<SendFile> added = Ref<SendFile>::adopt(file);
  sent_.push_back(added);
  if (queued) connection_->sender().queue_locked().push_item(Ref<SendFile>(file).detach());
  return added;
}

Ref<SendFile> ConnectionFiles::find_sent_locked(uint32_t id) {
  for (const auto& one : sent_) {
    if (one->id() == id) return one;
  }
  return nullptr;
}

bool ConnectionFiles::receive(const FileHome& file, const ReceiveFileOptions& options, uint32_t* error) {
  *error = calls::associate(connection_->engine()->port(), (*file)->handle());
  if (*error != 0) return false;
  Ref<ReceiveFile> received;
  bool wake = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (connection_->is_closing_locked() || (options.raw && connection_->receiver().has_raw_file())) return false;
    received = Ref<ReceiveFile>::adopt(new ReceiveFile(this, connection_->engine(), file, options));
    received_.push_back(received);
    if (options.raw && options.bytes != 0) {
      connection_->receiver().set_raw_file(received);
      wake = true;
    }
  }
  if (options.raw && options.bytes == 0) received->finish();
  if (wake) connection_->request(Connection::kReceive);  // what has been read already may be the file's
  return true;
}

void ConnectionFiles::cancel(bool received, uint32_t id) {
  Ref<SendFile> sent;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (!received) sent = find_sent_locked(id);
    if (sent && sent->cancel() && connection_->sender().queue_locked().remove_item(sent.get())) sent->left_queue();
  }
  if (sent) {
    sent->take_back_read();
    sent->advance();
    return connection_->request(Connection::kSend);  // what waited behind it
  }
  if (!received) return;
  if (const auto file = find_received(id, false)) file->cancel();
}

// One of a number, or without one the first; they stand in the list as in the queue.
const SendFile* ConnectionFiles::find_held_locked(uint32_t id) {
  for (const auto& one : sent_) {
    if ((id == 0 || one->id() == id) && one->is_held()) return one.get();
  }
  return nullptr;
}

void ConnectionFiles::start_sent(uint32_t id) {
  Ref<SendFile> sent;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    sent = find_sent_locked(id);
    if (!sent) return;
    sent->let_go();
  }
  sent->advance();
}

// A piece of the file is ready. False when the file has been cancelled.
bool ConnectionFiles::piece_ready(SendFile* file) {
  bool schedule = false;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    if (connection_->is_closing_locked()) return true;
    if (file->framed()) {
      if (file->is_cancelled()) {
        file->left_queue();
        return false;
      }
      connection_->sender().queue_locked().push_item(Ref<SendFile>(file).detach());
    }
    schedule = !connection_->sender().is_sending_locked() && connection_->request_locked(Connection::kSend);
  }
  if (schedule) connection_->schedule();
  return true;
}

// Sending strand: a piece that the system takes from the file itself.
uint32_t ConnectionFiles::transmit(const SendFile::Piece& piece, DWORD* bytes) {
  std::unique_ptr<TransmitOperation>& transmit = transmit_;
  if (transmit == nullptr) transmit = std::make_unique<TransmitOperation>();
  TransmitOperation* const operation = transmit.get();
  operation->connection.store(connection_);
  operation->prepare_at(piece.file_offset);
  const uint32_t error = calls::transmit_file(connection_->engine()->port(), connection_->socket().get(), piece.file,
                                              piece.file_size, piece.head.data, piece.head.size, operation);
  // Done at once, without a packet: the operation is this thread's again.
  if (error == 0 && connection_->engine()->skips_on_success()) *bytes = static_cast<DWORD>(operation->InternalHigh);
  if (error == 0 || error == WSA_IO_PENDING) return error;
  if (operation->connection.exchange(nullptr) == nullptr) return WSA_IO_PENDING;  // its packet was faster
  connection_->engine()->keep_for_late_packet(std::move(transmit));
  return error;
}

void ConnectionFiles::on_transmit_complete(Operation* self, uint32_t error, uint32_t bytes) {
  // No status was written: the call has failed at once, and tells so itself.
  if (static_cast<uint32_t>(self->Internal) == static_cast<uint32_t>(STATUS_PENDING)) return;
  Connection* connection = static_cast<TransmitOperation*>(self)->connection.exchange(nullptr);
  if (connection != nullptr) connection->sender().write_complete(error, bytes);
}

void ConnectionFiles::send_ended(SendFile* file, const FileEnd& end) {
  connection_->engine()->cancel(file->timer());
  const bool begun = file->has_begun();
  report_end(RecordKind::send_file_end, file->id(), begun, end);
  Ref<SendFile> of_list;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    of_list = take_out(&sent_, file);
    // A raw file of which no byte has gone gives its place up; any other keeps what follows it back.
    if (!begun && connection_->sender().queue_locked().remove_item(file)) file->left_queue();
  }
  connection_->request(Connection::kSend);  // what waited behind it
}

void ConnectionFiles::receive_ended(ReceiveFile* file, const FileEnd& end) {
  report_end(RecordKind::receive_file_end, file->id(), true, end);
  Ref<ReceiveFile> of_list;
  std::lock_guard<SrwLock> guard(connection_->lock());
  of_list = take_out(&received_, file);
}

// [u32 id, u32 outcome, u32 error, u32 begun, u64 bytes, SHA-256], little-endian as the machine.
void ConnectionFiles::report_end(RecordKind kind, uint32_t id, bool begun, const FileEnd& end) {
  uint8_t blob[24 + Sha256::kSize];
  const uint32_t words[4] = {id, static_cast<uint32_t>(end.outcome), end.error, begun ? 1u : 0u};
  std::memcpy(blob, words, sizeof(words));
  std::memcpy(blob + 16, &end.bytes, sizeof(end.bytes));
  std::memcpy(blob + 24, end.hash, Sha256::kSize);
  connection_->engine()->deliver(record_of(kind, connection_->id()), blob, sizeof(blob), nullptr);
}

void ConnectionFiles::report_progress(RecordKind kind, uint32_t id, uint64_t bytes) {
  connection_->engine()->report(kind, connection_->id(), id, static_cast<uint32_t>(bytes),
                                static_cast<uint32_t>(bytes >> 32));
}

void ConnectionFiles::add_ref() { connection_->add_ref(); }

bool ConnectionFiles::try_add_ref() { return connection_->try_add_ref(); }

void ConnectionFiles::release() { connection_->release(); }

bool ConnectionFiles::push_transfer(const Framing* framing, const TransferFrame& frame) {
  return connection_->sender().push_transfer(framing, frame);
}

void ConnectionFiles::hold_reads() { connection_->receiver().hold_reads(); }

void ConnectionFiles::let_reads_go() { connection_->receiver().let_reads_go(); }

void ConnectionFiles::read_on() { connection_->request(Connection::kReceive); }

// A peer's frame never finds a raw file.
Ref<ReceiveFile> ConnectionFiles::find_received(uint32_t id, bool framed_only) {
  std::lock_guard<SrwLock> guard(connection_->lock());
  for (const auto& file : received_) {
    if (file->id() == id && !(framed_only && file->is_raw())) return file;
  }
  return nullptr;
}

// A chunk whose file is not there is what was on its way when the file was aborted.
void ConnectionFiles::take_chunk(uint32_t id, const uint8_t* data, size_t size) {
  if (const auto file = find_received(id)) (void)file->take(data, size);
}

void ConnectionFiles::start_received(uint32_t id, uint64_t offset) {
  if (const auto file = find_received(id)) file->start(offset);
}

void ConnectionFiles::finish_received(uint32_t id) {
  if (const auto file = find_received(id)) file->finish();
}

}  // namespace iocp
