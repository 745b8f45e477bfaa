#pragma once
// What everything on one completion port shares: the port itself, the timers, the buffers, the disk threads, the
// counters and the way to JavaScript. It knows neither connections nor listeners; the engine is made on top of it.
#include <atomic>
#include <cstdint>

#include "core/buffer_pool.h"
#include "core/counters.h"
#include "core/delivery_queue.h"
#include "core/payload_memory.h"
#include "core/read_ahead.h"
#include "core/records.h"
#include "core/timer_wheel.h"
#include "win/io/delivery.h"
#include "win/io/disk_pool.h"
#include "win/io/thread_identity.h"
#include "win/io/timers.h"
#include "win/sys/completion_port.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

struct IoOptions {
  uint32_t io_threads = 1;    // 1..64
  uint32_t disk_threads = 1;  // 1..64
  DeliveryLimits delivery;
  int64_t max_free_buffers = 0;  // 0: unlimited, -1: keep none
  bool skip_on_success = true;
};

class IoContext {
 public:
  // Called when records wait and nobody has been told; on any thread, without locks; must not block.
  using Wake = void (*)(void* context);

  IoContext(const IoContext&) = delete;
  IoContext& operator=(const IoContext&) = delete;

  // -- any thread -------------------------------------------------------------------------------
  Delivery& delivery() { return delivery_; }
  void deliver(const Record& record, const void* data, size_t size, DeliveryCredit* credit) {
    delivery_.append(record, data, size, credit);
  }
  // A record that names no bytes.
  void report(RecordKind kind, ConnectionId of, uint32_t a = 0, uint32_t b = 0, uint32_t c = 0) {
    delivery_.append(record_of(kind, of, a, b, c), nullptr, 0, nullptr);
  }
  void report_sent(ConnectionId id, uint32_t token, SendOutcome outcome) {
    report(RecordKind::sent, id, token, static_cast<uint32_t>(outcome));
  }
  // Wakes the draining thread if there is something new. I/O threads do so twice per turn.
  void wake_if_needed() {
    const bool wanted = wakeup_requested_.load(std::memory_order_relaxed) && wakeup_requested_.exchange(false);
    if (delivery_.needs_wake() || (wanted && delivery_.begin_wake())) wake_(wake_context_);
  }
  // The draining thread has something to do besides the records; the next wake_if_needed() sees to it.
  void request_wakeup() { wakeup_requested_.store(true); }
  // The draining thread: has an I/O thread wake it, new records or not.
  void wake_via_port();
  void post(Operation* operation);
  void arm(EngineTimer& timer, uint32_t delay_ms);
  // The same, unless it is due by then anyway.
  void arm_sooner(EngineTimer& timer, uint32_t delay_ms);
  void cancel(EngineTimer& timer);
  void count(Counter counter, uint64_t n) { counters_.add(thread_index(), counter, n); }
  Counters& counters() { return counters_; }
  static uint64_t now_ms() { return GetTickCount64(); }
  static uint32_t coarse_ms() { return static_cast<uint32_t>(GetTickCount64()); }
  // The clock by which peers are judged: it stands still while the machine sleeps or the process is stopped, so that
  // nobody is late because of that. It is put back when a thread notices that it was so.
  uint32_t watch_ms() const {
    const uint32_t slept = slept_ms_.load(std::memory_order_acquire);  // first: a thread may be stopped in between
    return coarse_ms() - slept;
  }
  // The same, which does not wrap around.
  uint64_t watch_ms64() const {
    const uint32_t slept = slept_ms_.load(std::memory_order_acquire);
    return now_ms() - slept;
  }
  // Whether the process has stood still until a moment ago: what comes now may have come at any time since.
  bool was_stopped() const;
  DiskPool& disk() { return disk_; }
  bool skips_on_success() const { return skip_on_success_; }
  const CompletionPort& port() const { return port_; }

  // -- I/O threads and disk threads -------------------------------------------------------------
  BufferPool<SrwLock>& read_buffers() { return read_buffers_; }
  BufferPool<SrwLock>& wait_buffers() { return wait_buffers_; }
  ReadAheadBlocks& read_ahead_blocks() { return read_ahead_blocks_; }
  PoolStats read_buffer_stats() const { return read_buffers_.stats(); }
  PoolStats wait_buffer_stats() const { return wait_buffers_.stats(); }
  // Reads that wait with a buffer lock pages: their number is bounded.
  bool may_read_directly() const { return direct_reads() < direct_limit_.load(std::memory_order_relaxed); }
  bool below_direct_read_soft_limit() const { return direct_reads() < kDirectReadSoftLimit; }
  bool below_first_read_limit() const { return direct_reads() < kFirstReadLimit; }
  uint32_t direct_reads() const { return direct_reads_.load(std::memory_order_relaxed); }
  void direct_read_began() { direct_reads_.fetch_add(1, std::memory_order_relaxed); }
  void direct_read_ended() { direct_reads_.fetch_sub(1, std::memory_order_relaxed); }
  void shed_direct_reads();

 protected:
  IoContext(const IoOptions& options, Wake wake, void* wake_context);
  ~IoContext() = default;

  // 0, or the Win32 number.
  uint32_t open_port(bool skip_on_success);
  // 0: not an I/O thread of this engine; else 1 + its index.
  size_t thread_index() const { return ThreadIdentity::number_of(this); }
  // What the thread that ends its turn does with packets that could not be posted.
  void serve_unposted() {
    if (has_unposted_.load(std::memory_order_acquire)) complete_unposted();
  }
  // How long the calling I/O thread may sleep; *wake_at goes back to end_sleep().
  uint32_t plan_sleep(uint64_t* wake_at);
  void end_sleep(uint64_t wake_at);
  // Fires the timers that are due. True when the housekeeping is: trim() and whatever else the caller keeps.
  bool fire_timers();
  void trim();
  void post_quit();

 private:
  // With a buffer of 8 KiB each: 32 MiB, and 128 MiB.
  static constexpr uint32_t kDirectReadSoftLimit = 4096;
  static constexpr uint32_t kFirstReadLimit = 256;  // a crowd that connects and then says nothing is no reason for more
  static constexpr uint32_t kDirectReadLimit = 16 * 1024;

  void on_timer_poke() { poke_posted_.store(false); }  // what it is for happens when the turn ends
  void on_wakeup_posted();
  void complete_unposted();
  template <class F>
  void arm_by(uint32_t delay_ms, F&& arm);

  const Wake wake_;
  void* const wake_context_;
  bool skip_on_success_ = false;
  CompletionPort port_;
  Delivery delivery_;
  Counters counters_;
  BufferPool<SrwLock> read_buffers_;
  ReadAheadBlocks read_ahead_blocks_;
  BufferPool<SrwLock> wait_buffers_;
  const PayloadMemory::Lease payload_memory_;
  DiskPool disk_;

  SrwLock timers_lock_;
  TimerWheel timers_;
  uint64_t next_housekeeping_ms_ = 0;               // under timers_lock_
  std::atomic<uint64_t> last_look_ms_;              // at the wheel; written under timers_lock_
  std::atomic<uint64_t> resumed_ms_{0};             // written under timers_lock_: when it had stood still, 0 for never
  std::atomic<uint32_t> slept_ms_{0};               // written under timers_lock_
  std::atomic<uint64_t> next_wake_ms_{UINT64_MAX};  // when the first sleeper wakes by itself
  std::atomic<bool> poke_posted_{false};
  PostedOperation<IoContext, &IoContext::on_timer_poke> poke_operation_{this};

  std::atomic<bool> wakeup_requested_{false};
  std::atomic<bool> wakeup_posted_{false};
  PostedOperation<IoContext, &IoContext::on_wakeup_posted> wakeup_operation_{this};

  SrwLock unposted_lock_;
  Operation* unposted_ = nullptr;
  std::atomic<bool> has_unposted_{false};

  std::atomic<uint32_t> direct_reads_{0};
  std::atomic<uint32_t> direct_limit_;
};

}  // namespace iocp
