// What an I/O thread does between two waits: posted operations, connections that are ready, reads that
// were put off, timers.
#include <algorithm>
#include <mutex>
#include <utility>

#include "win/engine.h"
#include "win/socket_calls.h"

namespace iocp {
namespace {

constexpr uint32_t kHousekeepingMs = 1000;
// Far longer than a packet stays in the port.
constexpr uint32_t kLatePacketMs = 10'000;
// How long an answer waits for others when nothing else publishes it. Not much less than a tick of the system's clock,
// so that the timer costs little where answers are published before it fires.
constexpr uint32_t kGatherMs = 16;

}  // namespace

void Engine::post(Operation* operation) {
  operation->prepare();
  if (calls::post(port_, operation)) return;
  // The kernel is short of memory. The thread that ticks looks at this list within a second.
  std::lock_guard<SrwLock> guard(unposted_lock_);
  operation->next_unposted = unposted_;
  unposted_ = operation;
  has_unposted_.store(true, std::memory_order_release);
}

void Engine::serve_unposted() {
  Operation* list = nullptr;
  {
    std::lock_guard<SrwLock> guard(unposted_lock_);
    list = std::exchange(unposted_, nullptr);
    has_unposted_.store(false, std::memory_order_release);
  }
  while (list != nullptr) {
    Operation* operation = std::exchange(list, list->next_unposted);
    operation->complete(0, 0);
  }
}

void Engine::schedule(Connection* connection) {
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    ready_.push_back(connection);
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
    ready_.insert(ready_.end(), ready->begin(), ready->end());
    has_ready_.store(true, std::memory_order_release);
    post_now = !std::exchange(ready_posted_, true);
  }
  ready->clear();
  if (post_now) post(&ready_operation_);
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
  Connection* batch[kMost];
  size_t count = 0;
  bool more = false;
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    count = (std::min)(kMost, ready_.size());
    for (size_t i = 0; i < count; ++i) {
      batch[i] = ready_.front();
      ready_.pop_front();
    }
    more = !ready_.empty();
    post_now = more && !std::exchange(ready_posted_, true);
    has_ready_.store(more, std::memory_order_release);
  }
  if (post_now) post(&ready_operation_);  // for another thread, if one is idle
  for (size_t i = 0; i < count; ++i) {
    batch[i]->service();
    batch[i]->release();
  }
}

void Engine::end_turn(uint32_t thread) {
  if (has_unposted_.load(std::memory_order_acquire)) serve_unposted();
  wake_if_needed();  // JavaScript may begin while this thread goes on
  if (has_ready_.load(std::memory_order_acquire)) serve_ready();
  PutOffReads& reads = put_off_reads_[thread];
  if (!reads.empty()) reads.serve(has_ready_.load(std::memory_order_acquire));
  wake_if_needed();
}

bool Engine::read_later(Connection* connection) {
  const size_t index = thread_index();
  if (index == 0) return false;
  if (!connection->begin_put_off()) return true;
  connection->add_ref();
  put_off_reads_[index - 1].add(connection);
  return true;
}

void Engine::deliver_sent(ConnectionId id, uint32_t token, SendOutcome outcome) {
  deliver({static_cast<uint32_t>(RecordKind::sent), id.slot, id.generation, token, static_cast<uint32_t>(outcome), 0},
          nullptr, 0, nullptr);
}

void Engine::deliver_gathered(const Record& record, const void* data, size_t size) {
  delivery_.append_gathered(record, data, size);
  begin_gathering();
}

// An I/O thread that is awake anyway serves them before it sleeps.
void Engine::schedule_gathered(ReadyList* ready) {
  if (ready->empty()) return;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    ready_.insert(ready_.end(), ready->begin(), ready->end());
    has_ready_.store(true, std::memory_order_release);
  }
  ready->clear();
  begin_gathering();
}

void Engine::begin_gathering() {
  if (!gather_timer_armed_.exchange(true)) arm(gather_timer_, kGatherMs);
}

void Engine::publish_gathered() {
  delivery_.publish_gathered();
  wake_if_needed();
  bool post_now = false;
  {
    std::lock_guard<SrwLock> guard(ready_lock_);
    post_now = !ready_.empty() && !std::exchange(ready_posted_, true);
  }
  if (post_now) post(&ready_operation_);
}

// The timer, on an I/O thread, which serves the connections that are ready when its turn ends. What is gathered before
// the timer is said to be armed no more is seen here; what is gathered afterwards arms it.
void Engine::end_gathering() {
  gather_timer_armed_.store(false);
  delivery_.publish_gathered();
}

void Engine::wake_from_outside() {
  if (!rewake_posted_.exchange(true)) post(&rewake_operation_);
}

void Engine::rewake() {
  rewake_posted_.store(false);
  wake_(wake_context_);
}

void Engine::resume_parked() {
  if (!resume_posted_.exchange(true, std::memory_order_acq_rel)) post(&resume_operation_);
}

void Engine::unpark_all() {
  for_each_connection([](Connection& connection) { connection.unpark(); });
}

void Engine::resume_some() {
  resume_posted_.store(false, std::memory_order_release);
  constexpr size_t kMost = 256;
  std::vector<ConnectionId> ids;
  ids.reserve(kMost);
  delivery_.take_resumable(kMost, &ids);
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

void Engine::shed_direct_reads() {
  const uint32_t now = direct_reads_.load(std::memory_order_relaxed);
  direct_limit_.store((std::max)(64u, now / 2), std::memory_order_relaxed);
}

// -- timers ---------------------------------------------------------------------------------------

void Engine::arm(EngineTimer& timer, uint32_t delay_ms) {
  bool sooner = false;
  {
    std::lock_guard<SrwLock> guard(timers_lock_);
    const uint64_t now = now_ms();
    sooner = timers_.size() == 0 || delay_ms < timers_.next_due(now);
    timers_.arm(timer, now, delay_ms);
  }
  // A sleeper knows nothing of it. An I/O thread looks at the wheel before it sleeps itself.
  if (sooner && thread_index() == 0 && !nudge_posted_.exchange(true)) post(&nudge_operation_);
}

void Engine::cancel(EngineTimer& timer) {
  std::lock_guard<SrwLock> guard(timers_lock_);
  timers_.cancel(timer);
}

// One sleeper at a time wakes for the timers and the housekeeping: the one that wakes first.
uint32_t Engine::begin_wait(uint32_t thread, uint64_t* wake_at) {
  *wake_at = 0;
  // Serving connections has left requests behind (their turn was over): look at the port and go on.
  if (has_ready_.load(std::memory_order_acquire)) return 0;
  if (!put_off_reads_[thread].empty()) return 0;
  const uint64_t now = now_ms();
  uint32_t delay = kHousekeepingMs;
  {
    std::lock_guard<SrwLock> guard(timers_lock_);
    if (timers_.size() != 0) delay = (std::min)(delay, timers_.next_due(now));
  }
  uint64_t planned = next_wake_ms_.load(std::memory_order_relaxed);
  while (now + delay < planned) {
    if (next_wake_ms_.compare_exchange_weak(planned, now + delay)) {
      *wake_at = now + delay;
      return delay;
    }
  }
  return INFINITE;
}

void Engine::end_wait(uint64_t wake_at) {
  // Unless another sleeper has taken over with an earlier time.
  if (wake_at != 0) next_wake_ms_.compare_exchange_strong(wake_at, UINT64_MAX);
}

void Engine::run_timers() {
  const uint64_t now = now_ms();
  std::vector<EngineTimer*> due;
  bool housekeeping = false;
  if (!timers_lock_.try_lock()) return;  // another thread is at it
  {
    std::lock_guard<SrwLock> guard(timers_lock_, std::adopt_lock);
    timers_.advance(now, [&](Timer& timer) {
      EngineTimer& engine_timer = static_cast<EngineTimer&>(timer);
      if (engine_timer.hold()) due.push_back(&engine_timer);
    });
    housekeeping = now >= next_housekeeping_ms_;
    if (housekeeping) next_housekeeping_ms_ = now + kHousekeepingMs;
  }
  for (EngineTimer* timer : due) timer->fire();
  if (!housekeeping) return;
  read_buffers_.decay();
  wait_buffers_.decay();
  contexts_.decay();
  PayloadMemory::decay(now);
  drop_late_operations();
  // One that was between two calls, or just before one, has not been found.
  if (disk_.is_broken_off()) disk_.break_off();
  const uint32_t limit = direct_limit_.load(std::memory_order_relaxed);
  if (limit < kMostDirectReads) direct_limit_.store(limit + limit / 16 + 1);
}

}  // namespace iocp
