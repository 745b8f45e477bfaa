#include "win/receive_file.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "core/records.h"
#include "win/connection.h"
#include "win/engine.h"
#include "win/socket_calls.h"

namespace iocp {
namespace {

constexpr uint32_t kMaxPending = 4;  // writes; beyond it nothing is read
constexpr uint64_t kReportMs = 100;

}  // namespace

ReceiveFile::ReceiveFile(Connection* connection, Engine* engine, std::unique_ptr<TransferFile> file,
                         const ReceiveFileOptions& options)
    : connection_(connection),
      engine_(engine),
      options_(options),
      taken_(options.offset),
      file_(std::move(file)),
      next_offset_(options.offset),
      come_(options.offset),
      reported_ms_(Engine::now_ms()) {}

// With the last count: nothing of it is pending. One that was abandoned still has its file.
ReceiveFile::~ReceiveFile() {
  if (file_ != nullptr) cut_at_gap(file_.get());
}

void ReceiveFile::start(uint64_t offset) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (ended_ || offset == options_.offset) return;
    // What is there is not the beginning of this file: all of it comes.
    if (offset != 0 || taken_ != options_.offset || written_ != 0) {
      excess_ = true;
    } else {
      next_offset_ = 0;
      taken_ = 0;
      come_ = 0;
      if (file_->hash() != nullptr && !file_->hash()->start()) error_ = ERROR_NOT_SUPPORTED;
    }
  }
  try_end();
}

size_t ReceiveFile::take(const uint8_t* data, size_t size) {
  const uint64_t left = options_.bytes - taken_;
  const size_t mine = static_cast<size_t>((std::min)(left, uint64_t{size}));
  taken_ += mine;
  bool useless = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (mine < size && !options_.raw) excess_ = true;
    useless = ended_ || cancelled_ || abandoned_ || excess_ || error_ != 0;  // the bytes go nowhere, but they are the file's
    if (!useless) ++users_;
  }
  if (useless) {
    try_end();
    return mine;
  }
  for (size_t at = 0; at < mine;) {
    if (!fill_) fill_ = engine_->read_buffers().get();
    if (!fill_) {
      std::lock_guard<SrwLock> guard(lock_);
      error_ = kErrorNotEnoughMemory;
      break;
    }
    const size_t some = (std::min)(mine - at, fill_.size() - fill_size_);
    std::memcpy(fill_.data() + fill_size_, data + at, some);
    fill_size_ += static_cast<uint32_t>(some);
    at += some;
    if (fill_size_ == fill_.size()) issue(fill_write());
  }
  bool report = false;
  uint64_t come = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    --users_;
    come_ += mine;
    come = come_;
    // Not only when a buffer is full: a slow sender takes its time for one.
    report = report_due_locked();
    if (pending_ >= kMaxPending && !over_) {
      over_ = true;
      connection_->disk_full_.fetch_add(1, std::memory_order_acq_rel);
    }
  }
  if (report) connection_->report_file_progress(RecordKind::receive_progress, options_.id, come);
  try_end();
  return mine;
}

void ReceiveFile::finish() {
  bool write = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    finishing_ = true;
    write = fill_size_ != 0 && !ended_ && !cancelled_ && !abandoned_ && error_ == 0;
    if (write) ++users_;
  }
  if (write) {
    issue(fill_write());
    std::lock_guard<SrwLock> guard(lock_);
    --users_;
  }
  try_end();
}

void ReceiveFile::cut_off() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (error_ == 0) error_ = kErrorHandleEof;
  }
  try_end();
}

void ReceiveFile::cancel() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    cancelled_ = true;
    take_back_locked();
  }
  try_end();
}

void ReceiveFile::abandon(bool also_complete) {
  std::lock_guard<SrwLock> guard(lock_);
  // All of it has come: what its writes still do is worth waiting for, unless it has failed already.
  const bool complete = finishing_ && error_ == 0 && !excess_ && !cancelled_;
  if (complete && !also_complete) return;
  abandoned_ = true;
  take_back_locked();
}

// While a write is pending the file has not ended, so its handle is open.
void ReceiveFile::take_back_locked() {
  for (const auto& one : writes_) {
    if (one->busy) calls::cancel_file_call(engine_->port(), file_->handle(), one.get());
  }
}

// What has been gathered becomes a write. Receiving strand, as a user.
ReceiveFile::WriteOperation* ReceiveFile::fill_write() {
  if (Sha256* hash = file_->hash()) hash->update(fill_.data(), fill_size_);
  std::lock_guard<SrwLock> guard(lock_);
  WriteOperation* write = nullptr;
  for (const auto& one : writes_) {
    if (!one->busy) write = one.get();
  }
  if (write == nullptr) {
    writes_.push_back(std::make_unique<WriteOperation>(this));
    write = writes_.back().get();
  }
  write->busy = true;
  write->memory = std::move(fill_);
  write->size = std::exchange(fill_size_, 0);
  write->offset = next_offset_;
  next_offset_ += write->size;
  ++pending_;
  return write;
}

void ReceiveFile::issue(WriteOperation* write) {
  connection_->add_ref();  // the write's own count; its packet may be handled before the call returns
  DWORD bytes = 0;
  const uint32_t error = calls::write_file(file_->handle(), file_->skips_port(), write->memory.data(),
                                           write->size, write->prepare_at(write->offset), &bytes);
  if (error == WSA_IO_PENDING) {
    // Whoever has stopped it just before the call found nothing to take back.
    std::lock_guard<SrwLock> guard(lock_);
    if (cancelled_ || abandoned_) take_back_locked();
    return;
  }
  write_done(write, error, bytes);
  connection_->release();
}

void ReceiveFile::on_written(Operation* self, uint32_t error, uint32_t bytes) {
  calls::wait_for_slow_disk();
  WriteOperation* write = static_cast<WriteOperation*>(self);
  ReceiveFile* file = write->file;
  Connection* connection = file->connection_;
  file->add_ref();
  file->write_done(write, error, bytes);
  file->try_end();
  file->release();
  connection->release();
}

void ReceiveFile::write_done(WriteOperation* write, uint32_t error, uint32_t bytes) {
  bool room = false;
  bool report = false;
  uint64_t come = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (error == 0 && bytes < write->size) error = ERROR_DISK_FULL;  // the system says so in this way
    if (error == 0) {
      written_ += write->size;
      written_end_ = (std::max)(written_end_, write->offset + write->size);
    } else {
      gap_ = (std::min)(gap_, write->offset);
      // One that was taken back is no failure of the disk.
      const bool taken_back = error == kErrorOperationAborted && (cancelled_ || abandoned_);
      if (error_ == 0 && !taken_back) error_ = error;
    }
    write->memory.reset();
    write->busy = false;
    --pending_;
    room = over_ && pending_ < kMaxPending;
    if (room) {
      over_ = false;
      connection_->disk_full_.fetch_sub(1, std::memory_order_acq_rel);
    }
    report = report_due_locked();
    come = come_;
  }
  if (report) connection_->report_file_progress(RecordKind::receive_progress, options_.id, come);
  if (room) connection_->request(Connection::kReceive);
}

// What stays for a resume is a beginning without holes. A disk that answers nothing has left none, so
// that it is not asked here either.
void ReceiveFile::cut_at_gap(TransferFile* file) {
  if (gap_ < written_end_ && !file->is_temporary()) (void)file->set_size(gap_);
}

bool ReceiveFile::report_due_locked() {
  const uint64_t now = Engine::now_ms();
  if (now - reported_ms_ < kReportMs) return false;
  reported_ms_ = now;
  return true;
}

// Ends it when that is due and nothing of it is pending any more.
void ReceiveFile::try_end() {
  FileOutcome outcome = FileOutcome::complete;
  uint32_t error = 0;
  uint8_t hash[Sha256::kSize] = {};
  std::unique_ptr<TransferFile> file;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (ended_ || abandoned_ || pending_ != 0 || users_ != 0) return;
    if (!finishing_ && !cancelled_ && !excess_ && error_ == 0) return;
    ended_ = true;
    error = error_;
    if (error != 0) {
      outcome = FileOutcome::failed;
    } else if (excess_) {
      outcome = FileOutcome::excess;
    } else if (cancelled_) {
      outcome = FileOutcome::cancelled;
    }
    file = std::move(file_);
    fill_.reset();
  }
  if (file->hash() != nullptr) (void)file->hash()->digest(hash);
  if (outcome != FileOutcome::complete) cut_at_gap(file.get());
  // A resumed file may have been longer than what came now.
  if (outcome == FileOutcome::complete) {
    error = file->set_size(next_offset_);
    if (error == 0) error = file->keep();
    if (error != 0) outcome = FileOutcome::failed;
  }
  file.reset();
  add_ref();
  connection_->receive_file_ended(this, outcome, error, next_offset_, hash);
  release();
}

}  // namespace iocp
