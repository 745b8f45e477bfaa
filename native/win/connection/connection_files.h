#pragma once
// The files of one connection that have not ended, each with a count of the list. Made with the first one, and gone
// with the connection. What is under a lock here is under the connection's.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/disk_queue.h"
#include "core/ref.h"
#include "win/files/file_owner.h"
#include "win/files/receive_file.h"
#include "win/files/send_file.h"
#include "win/sys/operation.h"

namespace iocp {

class Connection;

// A TransmitFile of the sending strand. Wine posts a packet also for some that fail at once, where Windows posts
// none. So whoever takes the connection out of it, the packet or the failed call, tells of the end; and after a
// failed call the engine keeps it for a while.
struct TransmitOperation final : Operation {
  TransmitOperation();
  std::atomic<Connection*> connection{nullptr};
};

class ConnectionFiles final : public FileOwner {
 public:
  explicit ConnectionFiles(Connection* connection) : connection_(connection) {}
  ConnectionFiles(const ConnectionFiles&) = delete;
  ConnectionFiles& operator=(const ConnectionFiles&) = delete;

  // -- the engine's JavaScript thread -----------------------------------------------------------
  // Each ends with one record SEND_FILE_END or RECEIVE_FILE_END, unless the connection closes before.
  // False when it is closed or ending, or when the framing cannot carry such a chunk; then the file is the caller's,
  // and *error says which number of the system it was, if it was one.
  bool send(std::unique_ptr<TransferFile>* file, const SendFileOptions& options, uint32_t* error);
  // A raw file begins at the next packet boundary; there is one at a time.
  bool receive(const FileHome& file, const ReceiveFileOptions& options, uint32_t* error);
  void cancel(bool received, uint32_t id);
  // Takes the place of a raw file in the queue; send() with the same number fills it. It ends like
  // one. False when the connection is closed or ending.
  bool reserve(uint32_t id);
  // A file that was held back may go now.
  void start_sent(uint32_t id);
  // One that is held back and has this number, or with 0 the first one.
  const SendFile* find_held_locked(uint32_t id);

  // -- sending strand ---------------------------------------------------------------------------
  // A piece that the system takes from the file itself.
  uint32_t transmit(const SendFile::Piece& piece, DWORD* bytes);
  static void on_transmit_complete(Operation* self, uint32_t error, uint32_t bytes);

  // -- receiving strand -------------------------------------------------------------------------
  void take_chunk(uint32_t id, const uint8_t* data, size_t size);
  void start_received(uint32_t id, uint64_t offset);
  void finish_received(uint32_t id);

  // -- the end ----------------------------------------------------------------------------------
  // Any thread: the connection closes. What a disk still owes its files is not waited for. None is added any more. One
  // whose last byte has come is still written, unless even that has to end.
  void abandon(bool also_complete);
  // With the connection's last count. True when finalize() is called again, by a disk thread, behind the last handle.
  bool close_first();
  // The same; nothing of them is pending any more.
  void cancel_timers();

  // -- FileOwner --------------------------------------------------------------------------------
  void add_ref() override;
  bool try_add_ref() override;
  void release() override;
  bool piece_ready(SendFile* file) override;
  bool push_transfer(const Framing* framing, const TransferFrame& frame) override;
  void send_ended(SendFile* file, const FileEnd& end) override;
  void receive_ended(ReceiveFile* file, const FileEnd& end) override;
  void report_progress(RecordKind kind, uint32_t id, uint64_t bytes) override;
  void hold_reads() override;
  void let_reads_go() override;
  void read_on() override;

 private:
  // Closes one that is still open when the connection has lost its last count; the last one ends the connection.
  struct Closing final : DiskWork {
    Closing(ConnectionFiles* owner, SendFile* out, ReceiveFile* in) : files(owner), sent(out), received(in) {}
    void run_on_disk() override;
    void hold_for_disk() override {}
    void let_go_of_disk() override;
    ConnectionFiles* const files;
    SendFile* const sent;
    ReceiveFile* const received;
  };

  Ref<SendFile> find_sent_locked(uint32_t id);
  Ref<SendFile> add_sent_locked(SendFile* file, bool queued);
  Ref<ReceiveFile> find_received(uint32_t id, bool framed_only = true);
  void report_end(RecordKind kind, uint32_t id, bool begun, const FileEnd& end);

  Connection* const connection_;
  std::vector<std::unique_ptr<Closing>> closings_;
  std::atomic<size_t> open_{0};                  // of those
  std::unique_ptr<TransmitOperation> transmit_;  // sending strand
  std::vector<Ref<SendFile>> sent_;              // under the lock
  std::vector<Ref<ReceiveFile>> received_;       // under the lock
};

}  // namespace iocp
