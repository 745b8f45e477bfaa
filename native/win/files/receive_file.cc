#include "win/files/receive_file.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "core/records.h"
#include "win/io/io_context.h"
#include "win/sys/file_calls.h"
#include "win/sys/file_error.h"

namespace iocp {
namespace {

constexpr uint32_t kMaxPending = 4;  // writes that wait or are in the kernel; beyond it nothing is read
constexpr uint64_t kReportMs = 100;

}  // namespace

ReceiveFile::ReceiveFile(FileOwner* owner, IoContext* io, FileHome home, const ReceiveFileOptions& options)
    : owner_(owner),
      io_(io),
      options_(options),
      taken_(options.offset),
      home_(std::move(home)),
      file_(std::move(*home_)),
      next_offset_(options.offset),
      come_(options.offset),
      reported_ms_(IoContext::now_ms()) {}

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
    useless = ended_ || stopped_locked();  // the bytes go nowhere, but they are the file's
    if (!useless) ++users_;
  }
  if (useless) {
    try_end();
    return mine;
  }
  for (size_t at = 0; at < mine;) {
    if (!fill_) fill_ = io_->read_buffers().get();
    if (!fill_) {
      std::lock_guard<SrwLock> guard(lock_);
      error_ = kErrorNotEnoughMemory;
      break;
    }
    const size_t some = (std::min)(mine - at, fill_.size() - fill_size_);
    std::memcpy(fill_.data() + fill_size_, data + at, some);
    fill_size_ += static_cast<uint32_t>(some);
    at += some;
    if (fill_size_ == fill_.size()) queue_write();
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
      owner_->hold_reads();
    }
  }
  if (report) owner_->report_progress(RecordKind::receive_progress, options_.id, come);
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
    queue_write();
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
  bool room = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    cancelled_ = true;
    room = drop_due_locked();
    take_back_locked();
  }
  if (room) owner_->read_on();
  try_end();
}

bool ReceiveFile::abandon(bool also_complete) {
  std::lock_guard<SrwLock> guard(lock_);
  // All of it has come: what its writes still do is worth waiting for, unless it has failed already.
  const bool complete = finishing_ && error_ == 0 && !excess_ && !cancelled_;
  if (complete && !also_complete && !abandoned_) return false;
  abandoned_ = true;
  (void)drop_due_locked();
  take_back_locked();
  io_->disk().hurry(this);
  return pending_ != 0;
}

// One that was abandoned still has its file.
void ReceiveFile::close() {
  if (file_ != nullptr) cut_at_gap(file_.get());
  file_.reset();
}

// While a write is pending the file has not ended, so its handle is open.
void ReceiveFile::take_back_locked() {
  for (const auto& one : writes_) {
    if (one->busy) calls::cancel_file_call(io_->port(), file_->handle(), one.get());
  }
}

// What has been gathered becomes a write. Receiving strand, as a user.
void ReceiveFile::queue_write() {
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
  write->next = nullptr;
  (last_due_ == nullptr ? first_due_ : last_due_->next) = write;
  last_due_ = write;
  io_->disk().schedule(this, stopped_locked() ? DiskLane::end : DiskLane::work);
}

ReceiveFile::WriteOperation* ReceiveFile::take_due_locked() {
  WriteOperation* const write = first_due_;
  if (write == nullptr) return nullptr;
  first_due_ = write->next;
  if (first_due_ == nullptr) last_due_ = nullptr;
  return write;
}

// True when the connection has to be read again.
bool ReceiveFile::drop_due_locked() {
  bool room = false;
  while (WriteOperation* write = take_due_locked()) {
    gap_ = (std::min)(gap_, write->offset);
    room = free_locked(write) || room;
  }
  return room;
}

// The write is over. True when the connection has to be read again.
bool ReceiveFile::free_locked(WriteOperation* write) {
  write->memory.reset();
  write->busy = false;
  --pending_;
  if (!over_ || pending_ >= kMaxPending) return false;
  over_ = false;
  owner_->let_reads_go();
  return true;
}

void ReceiveFile::hold_for_disk() {
  owner_->add_ref();
  add_ref();
}

void ReceiveFile::let_go_of_disk() {
  FileOwner* const owner = owner_;
  release();
  owner->release();
}

// One step: a write, or the end.
void ReceiveFile::run_on_disk() {
  WriteOperation* write = nullptr;
  bool room = false;
  bool over = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (stopped_locked()) room = drop_due_locked();
    write = take_due_locked();
    if (first_due_ != nullptr) io_->disk().schedule(this, DiskLane::work);
    over = std::exchange(end_due_, false);
  }
  if (over) return end();
  if (room) owner_->read_on();
  if (write != nullptr) {
    // In order, since one thread at a time is here.
    if (Sha256* hash = file_->hash()) hash->update(write->memory.data(), write->size);
    // Behind the hash, which takes its time: a call that waits inside of the system is not always found again.
    if (is_stopped()) {
      write_done(write, kErrorOperationAborted, 0);
    } else {
      issue(write);
    }
  }
  try_end();
}

bool ReceiveFile::is_stopped() {
  std::lock_guard<SrwLock> guard(lock_);
  return cancelled_ || abandoned_;
}

void ReceiveFile::issue(WriteOperation* write) {
  Ref<FileOwner> of_write(owner_);  // its packet, which gives it back, may be handled before the call returns
  DWORD bytes = 0;
  const uint32_t error = calls::write_file(io_->port(), file_->handle(), file_->skips_port(), write->memory.data(),
                                           write->size, write->prepare_at(write->offset), &bytes);
  if (error == WSA_IO_PENDING) {
    (void)of_write.detach();
    // Whoever has stopped it just before the call found nothing to take back.
    std::lock_guard<SrwLock> guard(lock_);
    if (cancelled_ || abandoned_) take_back_locked();
    return;
  }
  write_done(write, error, bytes);
}

void ReceiveFile::on_written(Operation* self, uint32_t error, uint32_t bytes) {
  WriteOperation* write = static_cast<WriteOperation*>(self);
  ReceiveFile* file = write->file;
  const Ref<FileOwner> of_write = Ref<FileOwner>::adopt(file->owner_);
  const Ref<ReceiveFile> held(file);  // let go before the connection is
  file->write_done(write, error != 0 ? file_error_from_ntstatus(static_cast<uint32_t>(self->Internal)) : 0, bytes);
  file->try_end();
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
    room = free_locked(write);
    report = report_due_locked();
    come = come_;
  }
  if (report) owner_->report_progress(RecordKind::receive_progress, options_.id, come);
  if (room) owner_->read_on();
}

// What stays for a resume is a beginning without holes. A disk that answers nothing has left none, so
// that it is not asked here either.
void ReceiveFile::cut_at_gap(TransferFile* file) {
  if (gap_ < written_end_ && !file->is_temporary()) (void)file->set_size(gap_);
}

bool ReceiveFile::report_due_locked() {
  const uint64_t now = IoContext::now_ms();
  if (now - reported_ms_ < kReportMs) return false;
  reported_ms_ = now;
  return true;
}

// Ends it when that is due and nothing of it is pending any more.
void ReceiveFile::try_end() {
  std::lock_guard<SrwLock> guard(lock_);
  if (ended_ || abandoned_ || pending_ != 0 || users_ != 0) return;
  if (!finishing_ && !stopped_locked()) return;
  ended_ = true;
  outcome_ = FileOutcome::complete;
  if (error_ != 0) {
    outcome_ = FileOutcome::failed;
  } else if (excess_) {
    outcome_ = FileOutcome::excess;
  } else if (cancelled_) {
    outcome_ = FileOutcome::cancelled;
  }
  fill_.reset();
  end_due_ = true;
  io_->disk().schedule(this, DiskLane::end);
}

// Disk thread, once; nobody else touches the file any more.
void ReceiveFile::end() {
  uint8_t hash[Sha256::kSize] = {};
  FileOutcome outcome = outcome_;
  uint32_t error = error_;
  if (file_->hash() != nullptr) (void)file_->hash()->digest(hash);
  if (outcome != FileOutcome::complete) cut_at_gap(file_.get());
  // A resumed file may have been longer than what came now.
  if (outcome == FileOutcome::complete) {
    error = file_->set_size(next_offset_);
    if (error == 0) error = file_->keep();
    if (error != 0) outcome = FileOutcome::failed;
  }
  if (outcome == FileOutcome::complete) *home_ = std::move(file_);
  file_.reset();
  const Ref<ReceiveFile> held(this);  // the list's count goes now
  owner_->receive_ended(this, {outcome, error, next_offset_, hash});
}

}  // namespace iocp
