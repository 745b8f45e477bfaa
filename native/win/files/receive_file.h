#pragma once
// One file on its way in: bytes from the receiving strand are gathered in pooled buffers, which a disk
// thread hashes and writes in order, by overlapped WriteFile on the engine's port. When too many writes
// wait or are pending the connection's reads stop until one has ended, so a slow disk slows the peer and
// memory stays bounded.
//
// Lifetime: counted; one count of the connection's list, one of whoever works on it. Work for a disk
// thread and a write in the kernel hold a count on the connection, which outlives its files.
#include <cstdint>
#include <memory>
#include <vector>

#include "core/buffer_pool.h"
#include "core/disk_queue.h"
#include "core/ref.h"
#include "win/files/send_file.h"
#include "win/files/transfer_file.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

struct ReceiveFileOptions {
  uint32_t id = 0;
  uint64_t offset = 0;  // framed: bytes that are there already, which the sender may leave out
  uint64_t bytes = 0;   // of the whole file; raw: exactly so many follow
  bool raw = false;
};

// Where an open file is that JavaScript holds. While a connection receives it the place is empty; one that is complete
// is back there, still open, before its end is told. So its name can be given to it before anybody else gets hold of
// it.
using FileHome = std::shared_ptr<std::unique_ptr<TransferFile>>;

class ReceiveFile final : private DiskWork {
 public:
  ReceiveFile(FileOwner* owner, IoContext* io, FileHome home, const ReceiveFileOptions& options);

  void add_ref() { refs_.add(); }
  void release() {
    if (refs_.drop()) delete this;
  }
  uint32_t id() const { return options_.id; }
  bool is_raw() const { return options_.raw; }

  // Receiving strand: the sender says where it begins, with the first byte or behind what is there.
  void start(uint64_t offset);
  // Receiving strand. Returns the bytes that are the file's; those behind a raw file are the framing's.
  size_t take(const uint8_t* data, size_t size);
  // Receiving strand: no more bytes will come.
  void finish();
  bool all_taken() const { return taken_ == options_.bytes; }
  // Receiving strand: the peer has ended before the last byte.
  void cut_off();
  // Any thread, without locks. Writes that the disk still owes are taken back; each is waited for.
  void cancel();
  // Any thread, without locks: the connection closes. Nothing more is written, and no end is reported. One
  // that only waits for its last writes goes on, unless `also_complete`.
  // True when a write is still to come back: a call that was just being made may not have been found, so do it again.
  bool abandon(bool also_complete);
  // Disk thread, with the last count of the connection: nothing of it is pending.
  void close();

 private:
  struct WriteOperation final : Operation {
    explicit WriteOperation(ReceiveFile* owner) : Operation(&on_written), file(owner) {}
    ReceiveFile* file;
    PooledBuffer<SrwLock> memory;
    uint32_t size = 0;
    uint64_t offset = 0;
    bool busy = false;               // from being filled on
    WriteOperation* next = nullptr;  // in the list of those that a disk thread has to begin
  };

  ~ReceiveFile() = default;
  void run_on_disk() override;
  void hold_for_disk() override;
  void let_go_of_disk() override;
  bool stopped_locked() const { return cancelled_ || abandoned_ || excess_ || error_ != 0; }
  void queue_write();
  WriteOperation* take_due_locked();
  bool drop_due_locked();
  bool free_locked(WriteOperation* write);
  bool is_stopped();
  void issue(WriteOperation* write);
  void write_done(WriteOperation* write, uint32_t error, uint32_t bytes);
  void take_back_locked();
  void cut_at_gap(TransferFile* file);
  bool report_due_locked();
  void try_end();
  void end();
  static void on_written(Operation* self, uint32_t error, uint32_t bytes);

  FileOwner* const owner_;
  IoContext* const io_;
  const ReceiveFileOptions options_;
  RefCount refs_;
  uint64_t taken_;  // receiving strand: bytes of the file, those that were there included
  SrwLock lock_;
  const FileHome home_;                 // touched at the beginning and at the end
  std::unique_ptr<TransferFile> file_;  // null when it has ended
  std::vector<std::unique_ptr<WriteOperation>> writes_;
  WriteOperation* first_due_ = nullptr;
  WriteOperation* last_due_ = nullptr;
  PooledBuffer<SrwLock> fill_;
  uint32_t fill_size_ = 0;
  uint32_t pending_ = 0;
  uint32_t users_ = 0;  // the strand is in take() or finish()
  bool over_ = false;   // counted in the connection's number of full files
  bool finishing_ = false;
  bool cancelled_ = false;
  bool abandoned_ = false;
  bool excess_ = false;
  bool ended_ = false;
  bool end_due_ = false;  // a disk thread has to finish and close the file and to report its end
  FileOutcome outcome_ = FileOutcome::complete;
  uint32_t error_ = 0;
  uint64_t next_offset_;
  uint64_t come_;  // bytes of the file that are in its writes or gathered, those that were there included
  uint64_t written_ = 0;
  uint64_t written_end_ = 0;   // behind the last byte that was written
  uint64_t gap_ = UINT64_MAX;  // the first byte that was not, although it was tried
  uint64_t reported_ms_ = 0;
};

}  // namespace iocp
