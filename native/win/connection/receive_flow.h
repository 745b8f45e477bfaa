#pragma once
// What decides whether a connection's bytes may be decoded, and what the packets among them are.
#include <atomic>
#include <cstdint>

#include "core/delivery_queue.h"
#include "core/framing/framing.h"

namespace iocp {

class ReceiveFile;

// Any thread sets it, the receiving strand looks.
struct ReceiveFlow {
  std::atomic<ReceiveFile*> raw_file{nullptr};  // with a count; takes what comes, from the next packet boundary on
  std::atomic<const Framing*> next_framing{nullptr};  // from the next packet boundary on
  std::atomic<int64_t> demand{0};                     // packets that were asked for, on demand
  std::atomic<uint32_t> full_files{0};                // received files that have too many writes pending
  std::atomic<bool> paused{false};

  // The decoder stops at the first packet boundary after a pause, before a change of framing or a raw
  // file, and while the disk is behind.
  bool goes_on() const {
    return !paused.load(std::memory_order_acquire) && full_files.load(std::memory_order_acquire) == 0 &&
           raw_file.load(std::memory_order_acquire) == nullptr &&
           next_framing.load(std::memory_order_acquire) == nullptr;
  }
};

// The receiving strand's alone.
struct DecodeState {
  DeliveryCredit credit;
  bool takes_transfers = false;
  bool takes_iocps_files = false;
  bool has_routed = false;  // packets of it go to workers
  bool bad_transfer = false;
};

}  // namespace iocp
