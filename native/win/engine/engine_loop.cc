// What an I/O thread does between two waits: connections that are ready, deferred reads, timers.
#include <algorithm>
#include <iterator>
#include <mutex>
#include <utility>

#include "win/engine/engine.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// Far longer than a packet stays in the port.
constexpr uint32_t kLatePacketMs = 10'000;
// After so long an answer is published, at the next tick of the system's clock but one: 16 to 47 ms. Shorter, the timer
// would cost more where answers are published before it fires.
constexpr uint32_t kGatherMs = 16;

}  // namespace

void Engine::schedule(Ref<Connection> connection) {
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    ready_.push_back(std::move(connection));
    has_ready_.store(true, std::memory_order_release);
    // An I/O thread serves the list before it waits again; anybody else has to wake one.
    post_now = !ready_posted_ && thread_index() == 0;
    if (post_now) ready_posted_ = true;
  }
  if (post_now) post(&ready_operation_);
}

void Engine::schedule_all(ReadyList* ready) {
  if (ready->empty()) return;
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    ready_.insert(ready_.end(), std::make_move_iterator(ready->begin()), std::make_move_iterator(ready->end()));
    has_ready_.store(true, std::memory_order_release);
    post_now = !std::exchange(ready_posted_, true);
  }
  ready->clear();
  if (post_now) post(&ready_operation_);
}

void Engine::deliver_gathered(const Record& record, const void* data, size_t size) {
  delivery().append_gathered(record, data, size);
  if (!gather_timer_armed_.exchange(true)) arm(gather_timer_, kGatherMs);
}

void Engine::publish_gathered() {
  delivery().publish_gathered();
  wake_if_needed();
}

// The timer, on an I/O thread, which wakes for what is published when its turn ends. What is gathered before the timer
// is said to be armed no more is seen here; what is gathered afterwards arms it.
void Engine::end_gathering() {
  gather_timer_armed_.store(false);
  delivery().publish_gathered();
}

void Engine::serve_posted_ready() {
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    ready_posted_ = false;
  }
  serve_ready();
}

void Engine::serve_ready() {
  constexpr size_t kMost = 64;
  Ref<Connection> batch[kMost];
  size_t count = 0;
  bool more = false;
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    count = (std::min)(kMost, ready_.size());
    for (size_t i = 0; i < count; ++i) {
      batch[i] = std::move(ready_.front());
      ready_.pop_front();
    }
    more = !ready_.empty();
    post_now = more && !std::exchange(ready_posted_, true);
    has_ready_.store(more, std::memory_order_release);
  }
  if (post_now) post(&ready_operation_);  // for another thread, if one is idle
  for (size_t i = 0; i < count; ++i) {
    batch[i]->service();
    batch[i] = nullptr;
  }
}

void Engine::end_turn(uint32_t thread) {
  serve_unposted();
  wake_if_needed();  // JavaScript may begin while this thread goes on
  if (has_ready_.load(std::memory_order_acquire)) serve_ready();
  DeferredReads& reads = deferred_reads_[thread];
  if (!reads.empty()) reads.serve(has_ready_.load(std::memory_order_acquire));
  wake_if_needed();
}

bool Engine::defer_read(Connection* connection) {
  const size_t index = thread_index();
  if (index == 0) return false;
  if (!connection->receiver().begin_deferral()) return true;
  deferred_reads_[index - 1].add(Ref<Connection>(connection));
  return true;
}

void Engine::resume_parked() {
  if (!resume_posted_.exchange(true, std::memory_order_acq_rel)) post(&resume_operation_);
}

void Engine::unpark_all() {
  for_each_connection([](Connection& connection) { connection.receiver().unpark_if_parked(); });
}

void Engine::resume_some() {
  resume_posted_.store(false, std::memory_order_release);
  constexpr size_t kMost = 256;
  std::vector<ConnectionId> ids;
  ids.reserve(kMost);
  delivery().take_resumable(kMost, &ids);
  if (ids.size() == kMost) resume_parked();
  for (const ConnectionId id : ids) {
    with_connection(id, [](Connection& connection) { connection.unpark(); });
  }
}

void Engine::keep_for_late_packet(std::unique_ptr<TransmitOperation> operation) {
  std::lock_guard<SrwLock> guard(late_lock_);
  late_.push_back(std::move(operation));
}

void Engine::drop_late_operations() {
  std::vector<std::unique_ptr<TransmitOperation>> dropped;
  std::lock_guard<SrwLock> guard(late_lock_);
  const uint64_t now = now_ms();  // with the lock: several threads may come here, and time must not go back
  if (now - late_aged_ms_ < kLatePacketMs) return;
  late_aged_ms_ = now;
  dropped.swap(late_older_);
  late_older_.swap(late_);
}

uint32_t Engine::begin_wait(uint32_t thread, uint64_t* wake_at) {
  *wake_at = 0;
  // Serving connections has left requests behind (their turn was over): look at the port and go on.
  if (has_ready_.load(std::memory_order_acquire)) return 0;
  if (!deferred_reads_[thread].empty()) return 0;
  return plan_sleep(wake_at);
}

void Engine::run_timers() {
  if (!fire_timers()) return;
  trim();
  contexts_.decay();
  if (AccessControl* control = access()) {
    if (control->sweep()) report_refused_soon();
  }
  drop_late_operations();
}

}  // namespace iocp
