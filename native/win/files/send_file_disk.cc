// What disk threads do for a file on its way out: reading ahead, hashing, closing.
#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/files/send_file.h"
#include "win/io/io_context.h"
#include "win/sys/file_calls.h"
#include "win/sys/file_error.h"

namespace iocp {

void SendFile::hold_for_disk() {
  owner_->add_ref();
  add_ref();
}

void SendFile::let_go_of_disk() {
  FileOwner* const owner = owner_;
  release();
  owner->release();
}

// One step. Whatever was left here while the last one ran is this one's, or the next one's.
void SendFile::run_on_disk() {
  bool read = false;
  bool landed = false;
  bool over = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    read = std::exchange(read_due_, false);
    landed = std::exchange(landed_, false);
    over = std::exchange(end_due_, false);
  }
  if (over) return end();
  if (landed) read_done(landed_error_, landed_bytes_);
  if (read && !issue_read(&ahead_[filling_slot_])) return;
  if (read || landed) advance();
}

// Disk thread. True when the read has ended; else its packet comes.
bool SendFile::issue_read(Ahead* into) {
  const uint64_t left = (std::min)(uint64_t{options_.chunk}, options_.length - read_);
  BufferPool<SrwLock>* const pool = &io_->read_buffers();
  const bool worth_it = into->memory.is_big() || left >= 2 * pool->buffer_size();
  if (!into->memory.prepare(pool, &io_->read_ahead_blocks(), into->big && worth_it)) {
    read_done(kErrorNotEnoughMemory, 0);
    return true;
  }
  const uint64_t wanted = (std::min)(uint64_t{into->memory.size()}, left);
  into->size = static_cast<uint32_t>(wanted);
  const uint64_t offset = options_.offset + read_;
  read_ += wanted;
  // Getting memory has taken a moment, and a call that waits inside of the system is not always found again.
  if (is_stopped()) {
    read_done(kErrorOperationAborted, 0);
    return true;
  }
  Ref<FileOwner> of_read(owner_);  // its packet, which gives it back, may be handled before the call returns
  DWORD bytes = 0;
  const uint32_t error = calls::read_file(io_->port(), file_->handle(), file_->skips_port(), into->memory.data(),
                                          into->size, read_operation_.prepare_at(offset), &bytes);
  if (error == WSA_IO_PENDING) {
    (void)of_read.detach();
    // Whoever has stopped it just before the call found nothing to take back.
    (void)take_back_read();
    return false;
  }
  read_done(error, bytes);
  return true;
}

bool SendFile::is_stopped() {
  std::lock_guard<SrwLock> guard(lock_);
  return stopped_locked();
}

void SendFile::on_read(Operation* self, uint32_t error, uint32_t bytes) {
  SendFile* file = static_cast<ReadFileOperation*>(self)->file;
  const Ref<FileOwner> of_read = Ref<FileOwner>::adopt(file->owner_);
  const Ref<SendFile> held(file);  // let go before the connection is
  file->read_landed(error != 0 ? file_error_from_ntstatus(static_cast<uint32_t>(self->Internal)) : 0, bytes);
}

// I/O thread.
void SendFile::read_landed(uint32_t error, uint32_t bytes) {
  if (error == 0 && file_->hash() != nullptr) {
    std::lock_guard<SrwLock> guard(lock_);
    landed_error_ = error;
    landed_bytes_ = bytes;
    landed_ = true;
    // That has been stopped meanwhile waits for no other file's work.
    io_->disk().schedule(this, stopped_locked() ? DiskLane::end : DiskLane::work);
    return;
  }
  read_done(error, bytes);
  advance();
}

void SendFile::read_done(uint32_t error, uint32_t bytes) {
  // Until the lock says that the read is over, its buffer and the hash are this thread's: the thread that pushes
  // packets, which waits for the lock, does not have to wait for the hash.
  Ahead& ahead = ahead_[filling_slot_];
  if (error == 0 && bytes < ahead.size) error = kErrorHandleEof;
  Sha256* const hash = file_->hash();
  if (error == 0 && hash != nullptr) hash->update(ahead.memory.data(), ahead.size);
  std::lock_guard<SrwLock> guard(lock_);
  reading_ = false;
  if (error != 0) {
    // One that was taken back is no failure of the disk.
    if (error != kErrorOperationAborted || !stopped_locked()) error_ = error;
    return;
  }
  ahead.full = true;
}

// While a read is under way the file has not ended, so its handle is open.
bool SendFile::take_back_read() {
  std::lock_guard<SrwLock> guard(lock_);
  if (!reading_ || !stopped_locked()) return false;
  if (read_due_) {
    read_due_ = reading_ = false;  // no disk thread has begun it
  } else {
    calls::cancel_file_call(io_->port(), file_->handle(), &read_operation_);
  }
  io_->disk().hurry(this);
  return reading_;
}

// By whoever has set `ended_`. Closing may wait for a disk.
void SendFile::end_later(FileOutcome outcome, uint32_t error) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    outcome_ = outcome;
    error_ = error;
    if (file_ != nullptr) {
      end_due_ = true;
      io_->disk().schedule(this, DiskLane::end);
      return;
    }
  }
  end();  // only its place was taken so far
}

void SendFile::end() {
  uint8_t hash[Sha256::kSize] = {};
  if (file_ != nullptr && file_->hash() != nullptr) (void)file_->hash()->digest(hash);
  for (Ahead& ahead : ahead_) ahead.memory.reset();
  file_.reset();
  const Ref<SendFile> held(this);  // the list's count goes now
  owner_->send_ended(this, {outcome_, error_, sent_, hash});
}

}  // namespace iocp
