#pragma once
// The reads that one I/O thread has deferred; only that thread touches it.
//
// A read that is posted right after data came mostly has to wait, because JavaScript has not answered
// and the peer has nothing to say yet. Waiting is dear: the system keeps the request, completes it from
// an interrupt and sends a packet to the port. A little later the data is mostly there, and the read
// takes it on the spot.
#include <algorithm>
#include <cstddef>
#include <deque>
#include <iterator>
#include <utility>

#include "win/connection/connection.h"

namespace iocp {

class DeferredReads {
 public:
  void add(Ref<Connection> connection) { of_this_turn_.push_back(std::move(connection)); }
  bool empty() const { return of_this_turn_.empty() && waiting_.empty(); }

  // At the end of a turn: some of those that earlier turns have deferred. Those of this turn wait for the
  // next one, unless they are few and nothing else is to be done: then nobody gains by waiting.
  void serve(bool busy) {
    Ref<Connection> batch[kPerTurn];
    size_t count = (std::min)(kPerTurn, waiting_.size());
    for (size_t i = 0; i < count; ++i) {
      batch[i] = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (count == 0 && !busy && of_this_turn_.size() <= kFew) {
      count = of_this_turn_.size();
      std::move(of_this_turn_.begin(), of_this_turn_.end(), batch);
    } else {
      std::move(of_this_turn_.begin(), of_this_turn_.end(), std::back_inserter(waiting_));
    }
    of_this_turn_.clear();
    // May defer further reads.
    for (size_t i = 0; i < count; ++i) {
      batch[i]->receiver().run_deferred();
      batch[i] = nullptr;
    }
  }

 private:
  static constexpr size_t kPerTurn = 16;
  static constexpr size_t kFew = 4;
  static_assert(kFew <= kPerTurn, "they are served in one go");

  std::deque<Ref<Connection>> waiting_;  // of earlier turns
  ReadyList of_this_turn_;
};

}  // namespace iocp
