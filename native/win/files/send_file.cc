#include "win/files/send_file.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "core/records.h"
#include "win/io/io_context.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

constexpr uint64_t kReportMs = 100;
// A piece goes quickly from 4 MiB/s on. The first ones always do, into the system's buffers; so a peer is quick only
// after several. In a big block a peer that is slow would, seen from here, take nothing for a long time.
constexpr uint64_t kQuickBytesPerMs = 4096;
constexpr uint8_t kQuickPieces = 16;
const uint8_t kZeros[16 * 1024] = {};

}  // namespace

SendFile::SendFile(FileOwner* owner, IoContext* io, ProfileRef profile, std::unique_ptr<TransferFile> file,
                   const SendFileOptions& options)
    : owner_(owner),
      io_(io),
      profile_(std::move(profile)),
      options_(options),
      file_(std::move(file)),
      held_(options.held),
      queued_(!options.framed &&
              (options.held || options.length != 0)),  // a raw file keeps its place from the beginning
      started_ms_(IoContext::now_ms()),
      reported_ms_(started_ms_),
      read_operation_(this),
      timer_(this) {}

SendFile::~SendFile() {
  // The wheel must not know a timer any more whose memory goes.
  calls::check(!timer_.armed());
}

bool SendFile::PaceHold::hold(SendFile* file) {
  if (!file->owner_->try_add_ref()) return false;
  file->add_ref();
  return true;
}

void SendFile::PaceHold::let_go(SendFile* file) {
  FileOwner* const owner = file->owner_;
  file->release();
  owner->release();
}

void SendFile::pace_due() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    paced_ = false;
  }
  advance();
}

// Whether there is a piece that the strand could write. With the lock.
bool SendFile::has_piece() const {
  if (piece_size_ != 0) return true;
  if (ended_ || held_ || paced_ || is_cancelled()) return false;
  if (options_.transmit) return error_ == 0 && sent_ < options_.length;
  return ahead_[front_].full;
}

void SendFile::advance() {
  report_progress();
  for (;;) {
    uint32_t delay = 0;
    Next next = Next::nothing;
    uint32_t error = 0;
    {
      std::lock_guard<SrwLock> guard(lock_);
      next = decide(&delay);
      error = error_;
      // With the lock: once it has ended the timer is cancelled, and must not be armed behind that.
      if (delay != 0) {
        calls::wait_before_arming();
        io_->arm(timer_, delay);
      }
    }
    switch (next) {
      case Next::nothing:
        return;
      case Next::show:
        // Cancelled in between: it is not in the queue, so it can end at once.
        if (!owner_->piece_ready(this)) continue;
        return;
      case Next::complete:
        if (options_.framed) push_done();
        return end_later(FileOutcome::complete, 0);
      case Next::end:
        return end_later(error != 0 ? FileOutcome::failed : FileOutcome::cancelled, error);
    }
  }
}

// With the lock.
SendFile::Next SendFile::decide(uint32_t* delay) {
  if (ended_) return Next::nothing;
  // When the connection closes, only an end that has come already is still told.
  if (abandoned_ && (queued_ || error_ != 0 || sent_ != options_.length)) return Next::nothing;
  const bool stop = error_ != 0 || is_cancelled();
  if (held_ && !stop) return Next::nothing;
  const bool idle = !writing_ && !reading_ && piece_size_ == 0;
  // What has been read before a read failed goes out first: so the receiver can keep it for a resume.
  const bool spent = options_.transmit || error_ == 0 || !ahead_[front_].full || is_cancelled();
  if (stop && !filling_ && spent) {
    // A raw file that has begun keeps its place: nothing may follow a promise that is broken.
    if (!idle || (queued_ && options_.framed)) return Next::nothing;
    ended_ = true;
    return Next::end;
  }
  if (filling_) {
    if (!idle || queued_) return Next::nothing;
    ended_ = true;
    return Next::end;
  }
  if (sent_ == options_.length && idle && (!queued_ || !options_.framed)) {
    if (queued_) return Next::nothing;  // raw: until the strand has taken it out
    ended_ = true;
    return Next::complete;
  }
  if (!options_.transmit && !reading_ && error_ == 0 && read_ < options_.length) {
    const uint32_t slot = ahead_[front_].full ? front_ ^ 1u : front_;
    if (!ahead_[slot].full) {
      reading_ = true;
      filling_slot_ = slot;
      ahead_[slot].big = may_be_big();
      read_due_ = true;
      io_->disk().schedule(this, DiskLane::work);
    }
  }
  if (options_.bytes_per_second != 0 && !paced_ && piece_size_ == 0) {
    const uint64_t due = sent_ * 1000 / options_.bytes_per_second;
    const uint64_t now = IoContext::now_ms() - started_ms_;
    if (due > now) {
      paced_ = true;
      *delay = static_cast<uint32_t>((std::min)(due - now, uint64_t{60000}));
    }
  }
  if (writing_ || !has_piece()) return Next::nothing;
  if (queued_ && options_.framed) return Next::nothing;
  queued_ = true;
  return Next::show;
}

// Whether the next read may be of a big block, with the lock. Not in framed mode: what one packet carries must not be a
// matter of speed, since the peer has a limit for it. And not when we are what is slow.
bool SendFile::may_be_big() const {
  const uint64_t pace = options_.bytes_per_second;
  return !options_.framed && quick_pieces_ == kQuickPieces && (pace == 0 || pace >= kQuickBytesPerMs * 1000);
}

bool SendFile::cancel() {
  std::lock_guard<SrwLock> guard(lock_);
  cancelled_.store(true, std::memory_order_release);
  return piece_size_ == 0 && (options_.framed || !begun_);
}

bool SendFile::abandon() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    abandoned_ = true;
  }
  return take_back_read();
}

bool SendFile::has_begun() {
  std::lock_guard<SrwLock> guard(lock_);
  return begun_;
}

bool SendFile::is_held() {
  std::lock_guard<SrwLock> guard(lock_);
  return held_ && queued_;
}

void SendFile::let_go() {
  std::lock_guard<SrwLock> guard(lock_);
  held_ = false;
  begun_ = true;  // the peer takes what comes next for the file
  started_ms_ = IoContext::now_ms();
}

void SendFile::fill(std::unique_ptr<TransferFile> file, const SendFileOptions& options) {
  std::lock_guard<SrwLock> guard(lock_);
  file_ = std::move(file);
  options_ = options;
  held_ = options.held;
  started_ms_ = IoContext::now_ms();
}

void SendFile::left_queue() {
  std::lock_guard<SrwLock> guard(lock_);
  queued_ = false;
}

bool SendFile::encode_head(uint32_t size) {
  head_size_ = 0;
  if (!options_.framed) return true;
  FrameEnvelope envelope;
  if (!profile_->send->encode(uint64_t{size} + kTransferChunkHeader, &envelope)) return false;
  std::memcpy(head_, envelope.header, envelope.header_size);
  TransferFrame frame;
  frame.kind = TransferKind::chunk;
  frame.id = options_.id;
  head_size_ = envelope.header_size +
               static_cast<uint32_t>(encode_transfer(frame, head_ + envelope.header_size, kTransferChunkHeader));
  return true;
}

bool SendFile::begin_piece(Piece* out) {
  std::lock_guard<SrwLock> guard(lock_);
  if (!has_piece()) return false;
  if (piece_size_ == 0) {
    const uint32_t size = options_.transmit
                              ? static_cast<uint32_t>((std::min)(uint64_t{options_.chunk}, options_.length - sent_))
                              : ahead_[front_].size;
    if (!encode_head(size)) return false;  // not reached: the chunk fits the framing
    piece_size_ = uint64_t{head_size_} + size;
    piece_sent_ = 0;
    piece_begun_ms_ = IoContext::now_ms();
  }
  writing_ = true;
  begun_ = true;
  Piece piece;
  if (piece_sent_ < head_size_) piece.head = {head_ + piece_sent_, head_size_ - static_cast<size_t>(piece_sent_)};
  const uint64_t skip = piece_sent_ > head_size_ ? piece_sent_ - head_size_ : 0;
  const uint64_t left = piece_size_ - head_size_ - skip;
  if (filling_) {
    piece.data = {kZeros, static_cast<size_t>((std::min)(left, uint64_t{sizeof(kZeros)}))};
  } else if (options_.transmit) {
    piece.file = file_->handle();
    piece.file_offset = options_.offset + sent_ + skip;
    piece.file_size = static_cast<uint32_t>(left);
  } else {
    piece.data = {ahead_[front_].memory.data() + skip, static_cast<size_t>(left)};
  }
  *out = piece;
  return true;
}

bool SendFile::end_piece(uint64_t bytes, bool written) {
  std::lock_guard<SrwLock> guard(lock_);
  writing_ = false;
  if (!written) return false;
  piece_sent_ += bytes;
  if (piece_sent_ < piece_size_) {
    // TransmitFile comes short when the file has become shorter than it was.
    if (options_.transmit && !filling_) {
      error_ = kErrorHandleEof;
      filling_ = options_.framed;
      if (!options_.framed) piece_size_ = 0;
    }
    return false;
  }
  if ((IoContext::now_ms() - piece_begun_ms_) * kQuickBytesPerMs > piece_size_) {
    quick_pieces_ = static_cast<uint8_t>(quick_pieces_ / 2);  // one may have had bad luck
  } else if (quick_pieces_ != kQuickPieces) {
    ++quick_pieces_;
  }
  if (!filling_) sent_ += piece_size_ - head_size_;
  piece_size_ = 0;
  if (!options_.transmit) {
    ahead_[front_].full = false;
    front_ ^= 1u;
  }
  if (!options_.framed && sent_ < options_.length) return false;
  queued_ = false;
  return true;
}

void SendFile::report_progress() {
  uint64_t sent = 0;
  {
    std::lock_guard<SrwLock> guard(lock_);
    const uint64_t now = IoContext::now_ms();
    if (ended_ || now - reported_ms_ < kReportMs) return;
    reported_ms_ = now;
    sent = sent_;
  }
  owner_->report_progress(RecordKind::send_progress, options_.id, sent);
}

void SendFile::push_done() {
  uint8_t hash[Sha256::kSize];
  TransferFrame frame;
  frame.kind = TransferKind::done;
  frame.id = options_.id;
  frame.number = options_.start + options_.length;
  if (file_->hash() != nullptr && file_->hash()->digest(hash)) {
    frame.has_hash = true;
    frame.hash = hash;
  }
  owner_->push_transfer(profile_->send.get(), frame);
}

}  // namespace iocp
