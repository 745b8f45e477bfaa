// How the files of a connection end with it.
#include <memory>
#include <mutex>
#include <vector>

#include "win/connection/connection.h"
#include "win/connection/connection_files.h"

namespace iocp {
namespace {

constexpr uint32_t kCancelAgainMs = 100;

}  // namespace

void ConnectionFiles::abandon(bool also_complete) {
  std::vector<Ref<SendFile>> sent;
  std::vector<Ref<ReceiveFile>> received;
  {
    std::lock_guard<SrwLock> guard(connection_->lock());
    sent = sent_;
    received = received_;
  }
  bool again = false;
  for (const auto& file : sent) again = file->abandon() || again;
  for (const auto& file : received) again = file->abandon(also_complete) || again;
  if (again) connection_->arm_abandon_files(kCancelAgainMs);
}

void ConnectionFiles::Closing::run_on_disk() {
  if (sent != nullptr) sent->close();
  if (received != nullptr) received->close();
}

// The files go with the connection, and this with them.
void ConnectionFiles::Closing::let_go_of_disk() {
  if (files->open_.fetch_sub(1, std::memory_order_acq_rel) == 1) files->connection_->finalize();
}

bool ConnectionFiles::close_first() {
  if (!closings_.empty()) return false;
  for (const auto& file : sent_) {
    if (file->is_open()) closings_.push_back(std::make_unique<Closing>(this, file.get(), nullptr));
  }
  for (const auto& file : received_) closings_.push_back(std::make_unique<Closing>(this, nullptr, file.get()));
  if (closings_.empty()) return false;
  connection_->socket().take().reset();  // the peer does not wait for a disk
  const size_t count = closings_.size();
  open_.store(count, std::memory_order_relaxed);
  DiskPool& disk = connection_->engine()->disk();
  // The connection may be gone behind the last of them.
  for (size_t i = 0; i < count; ++i) disk.schedule(closings_[i].get(), DiskLane::end);
  return true;
}

void ConnectionFiles::cancel_timers() {
  for (const auto& file : sent_) connection_->engine()->cancel(file->timer());
}

}  // namespace iocp
