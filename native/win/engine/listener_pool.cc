// How many accepts of a listener are pending: the size of its pool, and the places that its connections have.
#include <algorithm>
#include <mutex>
#include <utility>

#include "win/engine/conditional_acceptor.h"
#include "win/engine/engine.h"
#include "win/engine/listener.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// A pool that has grown is halved in such steps while it does not run dry.
constexpr uint32_t kShrinkMs = 5000;
// So long those may take who are in the backlog when it accepts again.
constexpr uint32_t kBacklogMs = 1000;

}  // namespace

// Who has waited in the backlog may have come at any time, and has perhaps left again.
void Listener::note_backlog() { resumed_ms_.store(Engine::now_ms(), std::memory_order_relaxed); }

bool Listener::knows_arrival_time() const {
  const uint64_t resumed = resumed_ms_.load(std::memory_order_relaxed);
  return !engine_->was_stopped() && (resumed == 0 || Engine::now_ms() - resumed >= kBacklogMs);
}

// Those that have waited for a place, as far as there are some now.
void Listener::post_waiting() {
  const Ref<Listener> posted = Ref<Listener>::adopt(this);
  bool first = true;
  for (;;) {
    AcceptOperation* operation = nullptr;
    {
      std::lock_guard<SrwLock> guard(lock_);
      // Once for this packet: behind that the next one may be on its way, of which there must be one at a time.
      if (std::exchange(first, false)) place_posted_ = false;
      if (waiting_ == nullptr || !places_.take()) return;
      operation = std::exchange(waiting_, waiting_->next_idle);
      operation->has_place = true;
    }
    // While an accept is pending nobody waits in the backlog.
    if (outstanding() == 0) note_backlog();
    post_accept(operation);
  }
}

// False: there is no place for the connection that it would become, and it waits for one.
bool Listener::reserve(AcceptOperation* operation) {
  if (!stops_accepting() || operation->has_place) return true;
  std::lock_guard<SrwLock> guard(lock_);
  operation->has_place = places_.take();
  if (operation->has_place) return true;
  operation->next_idle = waiting_;
  waiting_ = operation;
  return false;
}

void Listener::connection_closed() { give_place_back(); }

// Any thread. Accepts are posted by I/O threads only. What waits for a place is put into its list under the lock under
// which it has looked for one; so either it has found this one, or it is found here.
void Listener::give_place_back() {
  places_.give_back();
  if (!stops_accepting()) return;
  bool wake_acceptor = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing()) return;
    wake_acceptor = std::exchange(acceptor_waits_, false);
    if (!wake_acceptor && (waiting_ == nullptr || std::exchange(place_posted_, true))) return;
    if (!wake_acceptor) add_ref();  // the packet's; being open has one
  }
  if (wake_acceptor) {
    note_backlog();
    return acceptor_->wake();
  }
  engine_->post(&place_operation_);
}

bool Listener::take_place_for_acceptor() {
  std::lock_guard<SrwLock> guard(lock_);
  acceptor_waits_ = !places_.take();
  return !acceptor_waits_;
}

// Every accept of the pool was taken while more peers were coming: a deeper pool serves them sooner.
void Listener::grow() {
  std::vector<AcceptOperation*> added;
  bool arm = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    // While sockets cannot be had, more of them are no help.
    if (socket_.is_closing() || retry_pending_) return;
    // What is lacking is places, not accepts.
    if (stops_accepting() && (!places_.any_free() || pool_.size() >= options_.max_connections)) return;
    engine_->count(Counter::accept_dry, 1);
    last_dry_ms_ = Engine::now_ms();
    surplus_ = 0;
    arm = !std::exchange(shrink_due_, true);
    const size_t size = pool_.size();
    const size_t most = stops_accepting() ? (std::min)(options_.max_connections, kMaxPool) : kMaxPool;
    const size_t wanted = (std::min)(size * 2, most);
    for (size_t i = size; i < wanted; ++i) {
      pool_.push_back(std::make_unique<AcceptOperation>(this));
      added.push_back(pool_.back().get());
    }
    pool_size_.store(static_cast<uint32_t>(pool_.size()), std::memory_order_relaxed);
  }
  for (AcceptOperation* operation : added) post_accept(operation);
  if (arm) engine_->arm(shrink_timer_, kShrinkMs);
}

// Each accept of the pool holds a socket. After a peak they are given back: those that are in the kernel are cancelled,
// and every one goes when it is next looked at, those that were faster than the cancel with a peer included.
void Listener::shrink() {
  {
    std::lock_guard<SrwLock> guard(lock_);
    shrink_due_ = false;
    if (socket_.is_closing()) return;
    const size_t size = pool_.size();
    const size_t base = (std::max)(1u, options_.accepts);
    if (size <= base) return;
    if (Engine::now_ms() - last_dry_ms_ >= kShrinkMs) {
      surplus_ = size - (std::max)(base, size / 2);
      for (size_t i = size - surplus_; i < size; ++i) calls::cancel_one(socket_.handle(), pool_[i].get());
    }
    shrink_due_ = true;
  }
  engine_->arm(shrink_timer_, kShrinkMs);
}

// Gives a surplus accept back, which is not in the kernel. False when it is needed.
bool Listener::retire(AcceptOperation* operation) {
  std::unique_ptr<AcceptOperation> to_free;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (surplus_ == 0 || socket_.is_closing()) return false;
    --surplus_;
    const auto found =
        std::find_if(pool_.begin(), pool_.end(), [&](const auto& candidate) { return candidate.get() == operation; });
    to_free = std::move(*found);
    *found = std::move(pool_.back());
    pool_.pop_back();
    pool_size_.store(static_cast<uint32_t>(pool_.size()), std::memory_order_relaxed);
  }
  if (to_free->has_place) give_place_back();
  return true;
}

}  // namespace iocp
