#include "win/files/transfer_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/error_table.h"
#include "win/sys/file_calls.h"

namespace iocp {
namespace {

constexpr uint64_t kHashSliceMs = 100;
constexpr DWORD kHashPatienceMs = 1000;  // for one read; then a smaller one is tried
constexpr DWORD kSmallestHashBlock = 4 * 1024;

}  // namespace

TransferFile::~TransferFile() { calls::close_file(std::move(handle_)); }

uint32_t TransferFile::open(const std::wstring& path, DWORD access, DWORD share, DWORD disposition, DWORD flags,
                            std::unique_ptr<TransferFile>* out) {
  std::unique_ptr<TransferFile> file(new TransferFile());
  uint32_t error = calls::open_file(path.c_str(), access, share, disposition,
                                    FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OVERLAPPED | flags, &file->handle_);
  if (error != 0) return error;
  const HANDLE handle = file->handle();
  const bool is_new = disposition == CREATE_NEW;
  if (!calls::is_on_disk(handle)) {
    if (is_new) discard(std::move(file), path);
    return ERROR_INVALID_FUNCTION;
  }
  // Before any call that may wait for a disk, and so be broken off. Where a file system cannot do this, a killed
  // process leaves its part, as with `resume`.
  if (is_new) (void)file->set_temporary(true);
  // Whether a call that fails at once leaves a packet is not the same everywhere; so it never shall.
  file->skips_port_ = calls::skip_port_of_file(handle);
  error = calls::query_size(handle, &file->size_);
  if (error != 0) {
    if (is_new) discard(std::move(file), path);
    return error;
  }
  *out = std::move(file);
  return 0;
}

uint32_t TransferFile::open_source(const std::wstring& path, bool hash, bool share_write,
                                   std::unique_ptr<TransferFile>* out) {
  std::unique_ptr<TransferFile> file;
  const DWORD share = FILE_SHARE_READ | FILE_SHARE_DELETE | (share_write ? FILE_SHARE_WRITE : 0u);
  uint32_t error = open(path, GENERIC_READ, share, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, &file);
  if (error == 0) error = file->start_hash(hash);
  if (error == 0) *out = std::move(file);
  return error;
}

uint32_t TransferFile::open_target(const std::wstring& path, uint64_t size, bool resume, bool hash,
                                   std::unique_ptr<TransferFile>* out) {
  std::unique_ptr<TransferFile> file;
  // The link itself is opened, not what it points to; and then refused.
  uint32_t error = open(path, GENERIC_READ | GENERIC_WRITE | DELETE, 0, resume ? OPEN_ALWAYS : CREATE_NEW,
                        FILE_FLAG_OPEN_REPARSE_POINT, &file);
  if (error != 0) return error;
  BY_HANDLE_FILE_INFORMATION info;
  error = calls::file_information(file->handle(), &info);
  if (error != 0) {
    if (!resume) discard(std::move(file), path);
    return error;
  }
  if ((info.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0 || info.nNumberOfLinks > 1) {
    return ERROR_ACCESS_DENIED;
  }
  if (size > file->size_) {
    // Only a hint, but a full disk is an answer.
    error = calls::allocate_file(file->handle(), size);
    if (error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL) {
      // Nothing has come that could be resumed.
      if (file->size_ == 0) discard(std::move(file), path);
      return error;
    }
  }
  error = file->start_hash(hash);
  if (error == 0) *out = std::move(file);
  return error;
}

// Where it cannot go with its handle, it goes by its name.
void TransferFile::discard(std::unique_ptr<TransferFile> file, const std::wstring& path) {
  const bool goes = file->is_temporary_ || file->set_temporary(true) == 0;
  file.reset();
  if (!goes) (void)calls::delete_file(path.c_str());
}

uint32_t TransferFile::move(const std::wstring& from, const std::wstring& to, bool replace) {
  return calls::move_file(from.c_str(), to.c_str(), replace);
}

uint32_t TransferFile::rename(const std::wstring& to, bool replace) {
  const uint32_t error = calls::rename_posix(handle(), to, replace);
  // Windows before 10 1607, and file systems that do not know it (FAT, shares) say so in several ways.
  const bool knows =
      error != ERROR_INVALID_PARAMETER && error != ERROR_NOT_SUPPORTED && error != ERROR_INVALID_FUNCTION;
  return knows ? error : calls::rename_file(handle(), to, replace);
}

uint32_t TransferFile::set_temporary(bool on) {
  const uint32_t error = calls::set_temporary(handle(), on);
  if (error == 0) is_temporary_ = on;
  return error;
}

uint32_t TransferFile::keep() { return is_temporary_ ? set_temporary(false) : 0; }

uint32_t TransferFile::start_hash(bool wanted) {
  if (!wanted) return 0;
  hash_ = std::make_unique<Sha256>();
  return hash_->start() ? 0 : static_cast<uint32_t>(ERROR_NOT_SUPPORTED);
}

uint32_t TransferFile::hash_some(uint64_t* at, uint64_t bytes) {
  if (*at == 0) {
    const uint32_t error = start_hash(true);
    if (error != 0) return error;
  }
  UniqueHandle done;
  if (const uint32_t error = calls::create_event(&done)) return error;
  std::vector<uint8_t> block(static_cast<size_t>((std::min)(bytes - *at, uint64_t{hash_block_})));
  const uint64_t until = GetTickCount64() + kHashSliceMs;
  while (*at < bytes && GetTickCount64() < until) {
    OVERLAPPED operation{};
    operation.Offset = static_cast<DWORD>(*at);
    operation.OffsetHigh = static_cast<DWORD>(*at >> 32);
    operation.hEvent = done.get();
    const DWORD wanted = static_cast<DWORD>((std::min)(bytes - *at, uint64_t{block.size()}));
    if (!ReadFile(handle(), block.data(), wanted, nullptr, &operation) && GetLastError() != ERROR_IO_PENDING) {
      return GetLastError();
    }
    // Either stop() sees the read, or this sees the word that stop() has left before.
    if (stopped_.load() || WaitForSingleObject(done.get(), kHashPatienceMs) == WAIT_TIMEOUT) {
      (void)CancelIoEx(handle(), &operation);
    }
    DWORD read = 0;
    const bool ok = GetOverlappedResult(handle(), &operation, &read, TRUE) != FALSE;
    const uint32_t error = ok ? calls::result_of_hash_read() : GetLastError();
    if (stopped_.load()) return kErrorOperationAborted;
    // The disk takes its time: whoever waits for the hash asks again, if there still is somebody.
    if (error == kErrorOperationAborted) {
      hash_block_ = (std::max)(hash_block_ / 4, kSmallestHashBlock);
      return 0;
    }
    if (error != 0) return error;
    if (read == 0) return kErrorHandleEof;
    hash_->update(block.data(), read);
    *at += read;
  }
  return 0;
}

bool TransferFile::end_hash(bool keep, uint8_t digest[Sha256::kSize]) {
  const bool ok = hash_->digest(digest);
  if (!keep) hash_.reset();
  return ok;
}

void TransferFile::stop() {
  stopped_.store(true);
  calls::cancel_all_of_file(handle());
}

uint32_t TransferFile::set_size(uint64_t size) { return calls::size_file(handle(), size); }

}  // namespace iocp
