#pragma once
// One file on its way out: an item of its connection's send queue.
//
// Framed, each turn in the queue is one chunk, and whatever waits goes between two of them. Raw, the
// file stays in front until its last byte has gone. Its bytes leave by TransmitFile, or they are read
// ahead into two buffers (core/read_ahead.h) and leave by WSASend.
//
// Lifetime: counted (SendBuffer): one count of the connection's list while it has not ended, one of the
// queue while it waits there. Work for a disk thread, a read in the kernel and a timer hold a count on the
// connection, which outlives its files.
//
// Threads: pieces are begun and ended by the sending strand; a disk thread reads, hashes and closes; a read
// that has pended completes on any I/O thread; the JavaScript thread starts and cancels. `lock_` guards all
// state; under the connection's lock it may be taken, never the other way round. The locks of the timers
// and of the disk threads' queue may be taken under it.
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/disk_queue.h"
#include "core/framing/framing.h"
#include "core/read_ahead.h"
#include "core/records.h"
#include "core/ref.h"
#include "core/send_queue.h"
#include "core/transfer_protocol.h"
#include "win/files/file_owner.h"
#include "win/files/transfer_file.h"
#include "win/io/profile.h"
#include "win/io/timers.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class IoContext;

struct SendFileOptions {
  uint32_t id = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t start = 0;  // bytes of what was offered that the receiver has already
  uint32_t chunk = 0;  // bytes of the file per piece
  bool framed = true;
  bool held = false;              // raw: keeps its place, but waits for let_go()
  bool transmit = false;          // TransmitFile; else ReadFile and WSASend
  uint64_t bytes_per_second = 0;  // 0: as fast as it goes
};

class SendFile final : public SendBuffer, private DiskWork {
 public:
  // What the next write carries: a head from memory, then bytes from memory or from the file.
  struct Piece {
    ByteSpan head{nullptr, 0};
    ByteSpan data{nullptr, 0};
    HANDLE file = nullptr;
    uint64_t file_offset = 0;
    uint32_t file_size = 0;  // 0: no TransmitFile
    uint64_t size() const { return head.size + data.size + file_size; }
  };

  SendFile(FileOwner* owner, IoContext* io, ProfileRef profile, std::unique_ptr<TransferFile> file,
           const SendFileOptions& options);
  ~SendFile();

  uint32_t id() const { return options_.id; }
  bool framed() const { return options_.framed; }
  // Does whatever is next, or has a disk thread do it: reads ahead, takes its place in the queue, ends.
  // Any thread, without locks.
  void advance();

  // Under the connection's lock: it is no longer held back. advance() has to follow.
  void let_go();
  // Under the connection's lock: what it sends, when only its place was taken so far.
  void fill(std::unique_ptr<TransferFile> file, const SendFileOptions& options);
  // Under the connection's lock. True when no byte that was promised is missing if the item is taken
  // out of the queue now.
  bool cancel();
  bool is_cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  // After cancel(), without locks: a read that the disk still owes is taken back. Its packet comes all the
  // same and says what became of it.
  bool take_back_read();
  // Any thread, without locks: the connection closes. Nothing more is read, and no end is reported.
  // True when a read is still to come back: a call that was just being made may not have been found, so do it again.
  bool abandon();
  // With the last count of the connection: nothing of it is pending. close() on a disk thread.
  bool is_open() const { return file_ != nullptr; }
  void close() { file_.reset(); }
  // Under the connection's lock: it keeps a place, and what it sends may not go yet.
  bool is_held();
  // Any thread: bytes of it may have gone, or the peer expects nothing else.
  bool has_begun();
  void left_queue();
  // Sending strand, under the connection's lock. False when it has nothing ready.
  bool begin_piece(Piece* out);
  // Sending strand, under the connection's lock: `bytes` of the piece have gone. True when its turn in
  // the queue is over.
  bool end_piece(uint64_t bytes, bool written);

  EngineTimer& timer() { return timer_; }

 private:
  struct ReadFileOperation final : Operation {
    explicit ReadFileOperation(SendFile* owner) : Operation(&on_read), file(owner) {}
    SendFile* file;
  };
  // A count on the file, and one on the connection.
  struct PaceHold {
    static bool hold(SendFile* file);
    static void let_go(SendFile* file);
  };
  struct Ahead {
    ReadAheadMemory<SrwLock> memory;
    uint32_t size = 0;
    bool big = false;  // the next read into it may be
    bool full = false;
  };
  enum class Next { nothing, show, complete, end };

  void destroy() override { delete this; }
  Next decide(uint32_t* delay);
  bool has_piece() const;
  bool encode_head(uint32_t size);
  bool may_be_big() const;
  void run_on_disk() override;
  void hold_for_disk() override;
  void let_go_of_disk() override;
  bool issue_read(Ahead* into);
  bool stopped_locked() const { return abandoned_ || is_cancelled(); }
  bool is_stopped();
  void read_done(uint32_t error, uint32_t bytes);
  void read_landed(uint32_t error, uint32_t bytes);
  void report_progress();
  void push_done();
  void end_later(FileOutcome outcome, uint32_t error);
  void end();
  void pace_due();
  static void on_read(Operation* self, uint32_t error, uint32_t bytes);

  FileOwner* const owner_;
  IoContext* const io_;
  const ProfileRef profile_;  // of its frames, whatever the connection sends with later
  SendFileOptions options_;
  SrwLock lock_;
  std::unique_ptr<TransferFile> file_;  // null before fill() and when it has ended
  std::atomic<bool> cancelled_{false};
  bool abandoned_ = false;
  bool ended_ = false;
  bool begun_ = false;  // a piece has been in the hands of the strand, or the peer waits for it
  bool held_;
  bool queued_ = false;    // in the send queue
  bool writing_ = false;   // a piece is in the hands of the strand
  bool reading_ = false;   // from the decision to read on
  bool read_due_ = false;  // a disk thread has to begin the read
  bool landed_ = false;    // the read has pended; a disk thread has to hash what it has brought
  bool end_due_ = false;   // a disk thread has to close the file and to report its end
  bool paced_ = false;     // waits for the timer
  bool filling_ = false;   // the source has shrunk: what a frame has promised is made up with zeros
  FileOutcome outcome_ = FileOutcome::complete;
  uint32_t landed_error_ = 0;
  uint32_t landed_bytes_ = 0;
  uint32_t error_ = 0;
  uint64_t sent_ = 0;  // bytes of the file in pieces that are through
  uint64_t read_ = 0;  // bytes of the file that have been read ahead, or are being read
  uint64_t started_ms_ = 0;
  uint64_t reported_ms_ = 0;
  Ahead ahead_[2];
  uint32_t front_ = 0;  // the one of the two that goes next
  uint32_t filling_slot_ = 0;
  uint8_t quick_pieces_ = 0;  // the last ones that went quickly
  uint8_t head_[FramingOptions::max_header + kTransferChunkHeader];
  uint32_t head_size_ = 0;
  uint64_t piece_size_ = 0;  // head included; 0 between two pieces
  uint64_t piece_sent_ = 0;
  uint64_t piece_begun_ms_ = 0;
  ReadFileOperation read_operation_;
  MemberTimer<SendFile, &SendFile::pace_due, PaceHold> timer_;
};

}  // namespace iocp
