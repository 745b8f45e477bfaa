#include "win/io/io_context.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

constexpr size_t kReadBuffer = 64 * 1024;  // for what is there already
constexpr size_t kWaitBuffer = 8 * 1024;   // for what is to come
constexpr uint32_t kTimerGranularityMs = 16;
constexpr uint32_t kHousekeepingMs = 1000;
// Somebody looks at the timers once a second. Where nobody has for so long, nothing of this process ran.
constexpr uint32_t kSleptMs = 3 * kHousekeepingMs;
// The same for what only has to be fair: somebody looks each second at least.
constexpr uint32_t kStoppedMs = kHousekeepingMs + 300;
constexpr uint32_t kResumedForMs = 1000;

}  // namespace

IoContext::IoContext(const IoOptions& options, Wake wake, void* wake_context)
    : wake_(wake),
      wake_context_(wake_context),
      delivery_(options.delivery),
      counters_(options.io_threads),
      read_buffers_(kReadBuffer, options.max_free_buffers),
      wait_buffers_(kWaitBuffer, options.max_free_buffers),
      payload_memory_(options.max_free_buffers >= 0),
      disk_(this, options.disk_threads),
      timers_(now_ms(), kTimerGranularityMs),
      last_look_ms_(now_ms()),
      direct_limit_(kDirectReadLimit) {}

uint32_t IoContext::open_port(bool skip_on_success) {
  skip_on_success_ = skip_on_success;
  return port_.create() ? 0 : GetLastError();
}

void IoContext::wake_via_port() {
  if (!wakeup_posted_.exchange(true)) post(&wakeup_operation_);
}

void IoContext::on_wakeup_posted() {
  wakeup_posted_.store(false);
  wake_(wake_context_);
}

void IoContext::shed_direct_reads() {
  direct_limit_.store((std::max)(64u, direct_reads() / 2), std::memory_order_relaxed);
}

// -- packets without I/O --------------------------------------------------------------------------

void IoContext::post(Operation* operation) {
  operation->prepare();
  if (calls::post(port_, operation)) return;
  // The kernel is short of memory. The thread that ticks looks at this list within a second.
  std::lock_guard<SrwLock> guard(unposted_lock_);
  operation->next_unposted = unposted_;
  unposted_ = operation;
  has_unposted_.store(true, std::memory_order_release);
}

void IoContext::complete_unposted() {
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

void IoContext::post_quit() {
  // Nobody else can end the threads: while the kernel is short of memory this waits.
  while (!port_.post_quit()) Sleep(10);
}

// -- timers ---------------------------------------------------------------------------------------

template <class F>
void IoContext::arm_by(uint32_t delay_ms, F&& arm) {
  bool sooner = false;
  {
    std::lock_guard<SrwLock> guard(timers_lock_);
    const uint64_t now = now_ms();
    sooner = timers_.size() == 0 || delay_ms < timers_.next_due(now);
    arm(now);
  }
  // A sleeper knows nothing of it. An I/O thread looks at the wheel before it sleeps itself.
  if (sooner && thread_index() == 0 && !poke_posted_.exchange(true)) post(&poke_operation_);
}

void IoContext::arm(EngineTimer& timer, uint32_t delay_ms) {
  arm_by(delay_ms, [&](uint64_t now) { timers_.arm(timer, now, delay_ms); });
}

void IoContext::arm_sooner(EngineTimer& timer, uint32_t delay_ms) {
  arm_by(delay_ms, [&](uint64_t now) { timers_.arm_sooner(timer, now, delay_ms); });
}

void IoContext::cancel(EngineTimer& timer) {
  std::lock_guard<SrwLock> guard(timers_lock_);
  timers_.cancel(timer);
}

// One sleeper at a time wakes for the timers and the housekeeping: the one that wakes first.
uint32_t IoContext::plan_sleep(uint64_t* wake_at) {
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

void IoContext::end_sleep(uint64_t wake_at) {
  // Unless another sleeper has taken over with an earlier time.
  if (wake_at != 0) next_wake_ms_.compare_exchange_strong(wake_at, UINT64_MAX);
}

// By the thread that has gone on first, before anybody has looked, too.
bool IoContext::was_stopped() const {
  const uint64_t looked = last_look_ms_.load(std::memory_order_acquire);
  const uint64_t resumed = resumed_ms_.load(std::memory_order_acquire);
  const uint64_t now = now_ms();
  return (now > looked && now - looked >= kStoppedMs) || (resumed != 0 && now - resumed < kResumedForMs);
}

bool IoContext::fire_timers() {
  const uint64_t now = now_ms();
  std::vector<EngineTimer*> due;
  bool housekeeping = false;
  if (!timers_lock_.try_lock()) return false;  // another thread is at it
  {
    std::lock_guard<SrwLock> guard(timers_lock_, std::adopt_lock);
    const uint64_t before = last_look_ms_.load(std::memory_order_relaxed);
    const uint64_t passed = now > before ? now - before : 0;
    if (passed >= kStoppedMs) resumed_ms_.store(now, std::memory_order_release);
    if (passed >= kSleptMs) {
      const auto slept = static_cast<uint32_t>(passed - kHousekeepingMs);
      slept_ms_.store(slept_ms_.load(std::memory_order_relaxed) + slept, std::memory_order_release);
    }
    last_look_ms_.store(now, std::memory_order_release);
    timers_.advance(now, [&](Timer& timer) {
      EngineTimer& engine_timer = static_cast<EngineTimer&>(timer);
      if (engine_timer.hold()) due.push_back(&engine_timer);
    });
    housekeeping = now >= next_housekeeping_ms_;
    if (housekeeping) next_housekeeping_ms_ = now + kHousekeepingMs;
  }
  for (EngineTimer* timer : due) timer->fire();
  return housekeeping;
}

void IoContext::trim() {
  read_buffers_.decay();
  wait_buffers_.decay();
  PayloadMemory::decay(now_ms());
  // One that was between two calls, or just before one, has not been found.
  if (disk_.is_broken_off()) disk_.break_off();
  const uint32_t limit = direct_limit_.load(std::memory_order_relaxed);
  if (limit < kDirectReadLimit) direct_limit_.store(limit + limit / 16 + 1);
}

}  // namespace iocp
