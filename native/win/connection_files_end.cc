// How the files of a connection end with it.
#include <memory>
#include <mutex>
#include <vector>

#include "win/connection.h"
#include "win/engine.h"

namespace iocp {
namespace {

constexpr uint32_t kCancelAgainMs = 100;

}  // namespace

ConnectionFiles::~ConnectionFiles() {
  for (SendFile* file : sent) file->release();
  for (ReceiveFile* file : received) file->release();
}

// The connection closes: what a disk still owes its files is not waited for. None is added any more. One
// whose last byte has come is still written, unless even that has to end.
void Connection::abandon_files(bool also_complete) {
  std::vector<SendFile*> sent;
  std::vector<ReceiveFile*> received;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (files_ == nullptr) return;
    sent = files_->sent;
    received = files_->received;
    for (SendFile* file : sent) file->add_ref();
    for (ReceiveFile* file : received) file->add_ref();
  }
  bool again = false;
  for (SendFile* file : sent) {
    again = file->abandon() || again;
    file->release();
  }
  for (ReceiveFile* file : received) {
    again = file->abandon(also_complete) || again;
    file->release();
  }
  if (again) engine_->arm(rare_timers().abandon_files, kCancelAgainMs);
}

void ConnectionFiles::Closing::run_on_disk() {
  if (sent != nullptr) sent->close();
  if (received != nullptr) received->close();
}

// The files go with the connection, and this with them.
void ConnectionFiles::Closing::let_go_of_disk() {
  if (connection->files_->open.fetch_sub(1, std::memory_order_acq_rel) == 1) connection->finalize();
}

// With the last count. True when finalize() is called again, by a disk thread, behind the last handle.
bool Connection::close_files_first() {
  if (files_ == nullptr || !files_->closings.empty()) return false;
  auto& closings = files_->closings;
  for (SendFile* file : files_->sent) {
    if (file->is_open()) closings.push_back(std::make_unique<ConnectionFiles::Closing>(this, file, nullptr));
  }
  for (ReceiveFile* file : files_->received) {
    closings.push_back(std::make_unique<ConnectionFiles::Closing>(this, nullptr, file));
  }
  if (closings.empty()) return false;
  socket_.reset();  // the peer does not wait for a disk
  const size_t count = closings.size();
  files_->open.store(count, std::memory_order_relaxed);
  DiskPool& disk = engine_->disk();
  // The connection may be gone behind the last of them.
  for (size_t i = 0; i < count; ++i) disk.schedule(closings[i].get(), DiskLane::end);
  return true;
}

// With the last count: nothing of them is pending, and their handles are closed, so before the CLOSE record.
void Connection::forget_files() {
  if (ReceiveFile* raw = raw_file_.exchange(nullptr)) raw->release();
  if (files_ == nullptr) return;
  for (SendFile* file : files_->sent) engine_->cancel(file->timer());
  files_.reset();
}

}  // namespace iocp
