#pragma once
// What a file that is sent or received needs of the connection that it belongs to.
#include <cstdint>

#include "core/framing/framing.h"
#include "core/records.h"
#include "core/transfer_protocol.h"

namespace iocp {

class ReceiveFile;
class SendFile;

struct FileEnd {
  FileOutcome outcome;
  uint32_t error;  // Win32
  uint64_t bytes;
  const uint8_t* hash;  // SHA-256; zeros when nothing was hashed
};

// Any thread, and without the file's lock where nothing else is said. A count on it is one on the connection, which
// outlives its files.
class FileOwner {
 public:
  virtual void add_ref() = 0;
  virtual bool try_add_ref() = 0;
  virtual void release() = 0;

  // A piece of the file is ready. False when the file has been cancelled.
  virtual bool piece_ready(SendFile* file) = 0;
  virtual bool push_transfer(const Framing* framing, const TransferFrame& frame) = 0;
  // With the list's count, which goes with it; the caller has its own.
  virtual void send_ended(SendFile* file, const FileEnd& end) = 0;
  virtual void receive_ended(ReceiveFile* file, const FileEnd& end) = 0;
  virtual void report_progress(RecordKind kind, uint32_t id, uint64_t bytes) = 0;

  // The file's lock may be held: it has too many writes pending, and nothing more may be read; or not any more.
  virtual void hold_reads() = 0;
  virtual void let_reads_go() = 0;
  // After let_reads_go(): reading goes on.
  virtual void read_on() = 0;

 protected:
  FileOwner() = default;
  ~FileOwner() = default;
};

}  // namespace iocp
