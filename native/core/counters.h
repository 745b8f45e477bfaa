#pragma once
// What happened, counted per thread and summed when somebody asks. Counting is a plain addition
// in a cache line that no other thread writes.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace iocp {

// X(enumerator, name in stats())
#define IOCP_COUNTERS(X)                                                                      \
  X(accepts, "accepts")                                                                       \
  X(accept_dry, "acceptDry") /* times no AcceptEx was outstanding */                          \
  X(accept_failures, "acceptFailures")                                                        \
  X(refused, "refused") /* accepted and reset: over the limit */                              \
  X(connects, "connects")                                                                     \
  X(connect_failures, "connectFailures")                                                      \
  X(closes, "closes")                                                                         \
  X(bytes_in, "bytesIn")                                                                      \
  X(bytes_out, "bytesOut")                                                                    \
  X(packets_in, "packetsIn")                                                                  \
  X(packets_out, "packetsOut")                                                                \
  X(recv_calls, "recvCalls")                                                                  \
  X(send_calls, "sendCalls")                                                                  \
  X(zero_reads, "zeroReads")     /* zero-byte reads posted */                                 \
  X(direct_reads, "directReads") /* reads posted with a buffer */                             \
  X(skip_success, "skipSuccess") /* completions taken at once, without a packet */            \
  X(enobufs, "enobufs")                                                                       \
  X(drops, "drops") /* packets dropped, for any reason */                                     \
  X(dropped_bytes, "droppedBytes")                                                            \
  X(protocol_errors, "protocolErrors")                                                        \
  X(rate_drops, "rateDrops") /* received packets dropped because of packetRate or byteRate */ \
  X(timeouts, "timeouts")    /* connections closed because of a time limit */                 \
  X(parks, "parks")          /* reads stopped because JavaScript did not keep up */           \
  X(dequeues, "dequeues")                                                                     \
  X(completions, "completions")                                                               \
  X(wakes, "wakes")                                                                           \
  X(batches, "batches")                                                                       \
  X(records, "records")

#define IOCP_COUNTER_ENUMERATOR(name, text) name,
enum class Counter : uint32_t { IOCP_COUNTERS(IOCP_COUNTER_ENUMERATOR) };
#undef IOCP_COUNTER_ENUMERATOR

#define IOCP_COUNTER_NAME(name, text) text,
constexpr const char* kCounterNames[] = {IOCP_COUNTERS(IOCP_COUNTER_NAME)};
#undef IOCP_COUNTER_NAME

constexpr size_t kCounterCount = sizeof(kCounterNames) / sizeof(kCounterNames[0]);

// Any thread reads.
class ThreadCounters {
 public:
  // The one thread that these belong to.
  void add(Counter counter, uint64_t amount = 1) {
    std::atomic<uint64_t>& value = values_[static_cast<size_t>(counter)];
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  // Any thread, where no thread uses add().
  void add_shared(Counter counter, uint64_t amount = 1) {
    values_[static_cast<size_t>(counter)].fetch_add(amount, std::memory_order_relaxed);
  }
  uint64_t read(Counter counter) const { return values_[static_cast<size_t>(counter)].load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> values_[kCounterCount] = {};
  // Keeps the neighbour's counters, also under adjacent-line prefetch, off this thread's last line.
  // Padding rather than alignas: over-aligned types draw a warning from MSVC and need aligned new.
  [[maybe_unused]] uint8_t padding_[128] = {};
};

// The counters of a fixed set of threads, numbered from 1, and of all others together, number 0.
class Counters {
 public:
  static constexpr size_t kOthers = 0;

  explicit Counters(size_t threads) : count_(threads + 1), counters_(new ThreadCounters[count_]) {}

  size_t threads() const { return count_ - 1; }
  ThreadCounters& of(size_t thread) { return counters_[thread]; }

  void add(size_t thread, Counter counter, uint64_t amount = 1) {
    if (thread == kOthers) {
      counters_[kOthers].add_shared(counter, amount);
    } else {
      counters_[thread].add(counter, amount);
    }
  }

  uint64_t sum(Counter counter) const {
    uint64_t total = 0;
    for (size_t i = 0; i < count_; ++i) total += counters_[i].read(counter);
    return total;
  }

 private:
  const size_t count_;
  const std::unique_ptr<ThreadCounters[]> counters_;
};

}  // namespace iocp
