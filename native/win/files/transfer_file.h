#pragma once
// An open file that is sent from or written to. Opening, closing and everything else here may wait for a
// disk: a disk thread does it.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "win/sys/handles.h"
#include "win/sys/sha256.h"
#include "win/sys/win.h"

namespace iocp {

// Everything returns 0 or the Win32 number.
class TransferFile final {
 public:
  // Closes it, which may wait for the disk.
  ~TransferFile();
  // For reading, while others may read, rename and delete it, and with `share_write` write. `hash`: its bytes
  // will be hashed.
  static uint32_t open_source(const std::wstring& path, bool hash, bool share_write,
                              std::unique_ptr<TransferFile>* out);
  // For writing, and nobody else may: a new file, or with `resume` the one that is there (or a new one).
  // A new one goes with its handle, even when the process is killed, until keep() says otherwise.
  // Room for `size` bytes is asked for, so that a full disk is known before the first byte comes.
  static uint32_t open_target(const std::wstring& path, uint64_t size, bool resume, bool hash,
                              std::unique_ptr<TransferFile>* out);
  static uint32_t move(const std::wstring& from, const std::wstring& to, bool replace);
  // The same for one that is open for writing, so that nobody else can get hold of it before it has its name. Where
  // the file system knows how, also over a file that somebody has open.
  uint32_t rename(const std::wstring& to, bool replace);

  // A call that ends at once, well or badly, leaves no packet at the port.
  bool skips_port() const { return skips_port_; }
  HANDLE handle() const { return handle_.get(); }
  // As it was when the file was opened.
  uint64_t size() const { return size_; }
  // Null when nothing is to be hashed.
  Sha256* hash() const { return hash_.get(); }
  // Hashes from *at, 0 at first, up to `bytes`, and says in *at how far it has come: it returns now and
  // then, so that a thread that may wait is not held for as long as a large file takes. Blocking.
  uint32_t hash_some(uint64_t* at, uint64_t bytes);
  // When all are hashed. With `keep` what comes next is hashed behind them.
  bool end_hash(bool keep, uint8_t digest[Sha256::kSize]);
  // Any thread: hash_some() fails soon.
  void stop();
  // Whether it goes with its handle.
  bool is_temporary() const { return is_temporary_; }
  // What was made here shall stay when it is closed.
  uint32_t keep();
  // Makes it `size` bytes long.
  uint32_t set_size(uint64_t size);

 private:
  TransferFile() = default;
  static uint32_t open(const std::wstring& path, DWORD access, DWORD share, DWORD disposition, DWORD flags,
                       std::unique_ptr<TransferFile>* out);
  uint32_t start_hash(bool wanted);
  uint32_t set_temporary(bool on);
  // A file that was made here and that nobody will write to.
  static void discard(std::unique_ptr<TransferFile> file, const std::wstring& path);

  UniqueHandle handle_;
  uint64_t size_ = 0;
  bool is_temporary_ = false;
  bool skips_port_ = false;
  std::atomic<bool> stopped_{false};
  std::unique_ptr<Sha256> hash_;
  DWORD hash_block_ = 256 * 1024;  // bytes per read; fewer when the disk does not answer in time
};

}  // namespace iocp
