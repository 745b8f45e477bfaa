#pragma once
// A listening socket and its pool of outstanding AcceptEx, or the thread that accepts conditionally.
//
// Owned by the engine and freed with it. Counted like a connection: one for being open, one for each
// accept in the kernel or waiting for a retry, one for the thread; at 0 it reports that it has closed.
//
// With OnMax::stop_accepting each accept in the kernel has the place of the connection that it will become. So no more
// accepts are pending than places are free, and no peer has to be held: those above the limit stay in the backlog. One
// that has been accepted could not be put back.
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/access/access_rules.h"
#include "core/access/places.h"
#include "core/ref.h"
#include "win/connection/proxy_preamble.h"
#include "win/io/profile.h"
#include "win/io/timers.h"
#include "win/sys/address.h"
#include "win/sys/guarded_socket.h"
#include "win/sys/handles.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class ConditionalAcceptor;
class Engine;
class Listener;

// What becomes of peers above the limit.
enum class OnMax : uint8_t { reset, close, stop_accepting };

struct ListenOptions {
  Address address;
  bool dual_stack = false;
  uint32_t backlog = 0;  // 0: as deep as the system allows
  uint32_t accepts = 64;
  uint32_t max_connections = UINT32_MAX;
  OnMax on_max = OnMax::reset;
  bool conditional = false;  // refuse before the handshake, where the system can
  bool exclusive = true;     // nobody else may bind the port, nor take it over
  ProfileRef profile;
  std::shared_ptr<const ProxyRules> proxy;  // null: no balancer is known
};

struct AcceptOperation final : Operation {
  explicit AcceptOperation(Listener* owner);
  static constexpr DWORD kAddressBytes = sizeof(sockaddr_storage) + 16;  // as AcceptEx demands
  Listener* listener;
  UniqueSocket socket;
  AcceptOperation* next_idle = nullptr;
  bool has_place = false;  // of the connection that it will become
  uint8_t addresses[2 * kAddressBytes];
};

class Listener final {
 public:
  Listener(Engine* engine, const ListenOptions& options, uint32_t index);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  // JavaScript thread. 0, or the number and in *syscall the call that failed.
  uint32_t open(const char** syscall);
  // Has the accepts posted by an I/O thread: those of a thread that exits are cancelled.
  void start();
  // The thread of its own has ended: behind STOPPED.
  void join();
  bool is_conditional() const { return acceptor_ != nullptr; }
  const Address& address() const { return bound_; }
  uint32_t index() const { return index_; }

  // I/O threads. Asks the first accepted socket; the others are like it.
  bool inherits_no_delay(SOCKET accepted);

  void add_ref() { refs_.add(); }
  bool try_add_ref() { return refs_.try_add(); }
  // The last count: it reports that it has closed.
  void release();

  // Any thread, any number of times.
  void close();
  void connection_closed();
  // Connections that are not announced yet.
  void preamble_began() { preambles_.fetch_add(1, std::memory_order_relaxed); }
  void preamble_ended() { preambles_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t preambles() const { return preambles_.load(std::memory_order_relaxed); }
  // Null when no headers of the PROXY protocol are expected.
  const ProxyPreamble::ErrorCounts* proxy_errors() const {
    return options_.proxy == nullptr ? nullptr : &proxy_errors_;
  }
  uint32_t outstanding() const { return outstanding_.load(std::memory_order_relaxed); }
  uint32_t pool_size() const { return pool_size_.load(std::memory_order_relaxed); }

  // -- whoever accepts: I/O threads, or the thread of its own ------------------------------------
  Engine* engine() const { return engine_; }
  bool is_closing();
  // The socket, until leave(): not while it is closing.
  bool enter();
  void leave();
  SOCKET socket() const { return socket_.get(); }
  bool stops_accepting() const { return options_.on_max == OnMax::stop_accepting; }
  // A peer is refused: the program is told, sooner or later.
  void note_refused(const Address& peer, Refusal refusal);
  // Refusal::none: the peer counts, and has a place.
  Refusal judge(const Address& peer, bool has_place, uint8_t* subnet_bits);
  // Makes a peer that has been let in a connection. False when that failed: it does not count any more; the place is
  // the caller's.
  bool introduce(UniqueSocket socket, const Address& local, const Address& peer, uint8_t subnet_bits);
  // An accept has succeeded, or has failed. needs_pause(): the next one may not follow at once.
  void accept_succeeded();
  bool needs_pause(uint32_t error);
  // Says so, and for how long to wait.
  uint32_t report_failure(uint32_t error);
  // False: there is none, and the thread is woken when there may be one.
  bool take_place_for_acceptor();
  // Whether who comes now has come now: not when it may have waited for this side.
  bool knows_arrival_time() const;
  void give_place_back();

 private:
  friend struct AcceptOperation;
  enum class Inherits : uint8_t { unknown, no, yes };
  static constexpr uint32_t kMaxPool = 1024;
  static void on_accept(Operation* self, uint32_t error, uint32_t bytes);
  void post_first();
  void post_idle();
  void post_waiting();
  void note_backlog();
  void post_accept(AcceptOperation* operation);
  uint32_t issue(AcceptOperation* operation);
  void schedule_retry(AcceptOperation* operation, uint32_t error);
  void grow();
  void shrink();
  bool retire(AcceptOperation* operation);
  bool reserve(AcceptOperation* operation);
  void admit(AcceptOperation* operation);
  bool resets(Refusal refusal) const;
  bool is_balancer(const Address& peer) const;

  Engine* const engine_;
  const ListenOptions options_;
  const uint32_t index_;
  Address bound_;
  RefCount refs_;
  std::atomic<uint32_t> outstanding_{0};  // accepts in the kernel
  std::atomic<uint32_t> pool_size_{0};
  Places places_;
  std::atomic<uint32_t> preambles_{0};
  ProxyPreamble::ErrorCounts proxy_errors_{};
  std::atomic<Inherits> no_delay_{Inherits::unknown};
  PostedOperation<Listener, &Listener::post_first> start_operation_{this};
  std::atomic<uint32_t> failures_{0};  // accepts in a row that failed after they had been pending
  std::atomic<uint32_t> retry_ms_;     // the next pause after a failure
  MemberTimer<Listener, &Listener::post_idle> retry_timer_{this};
  MemberTimer<Listener, &Listener::shrink> shrink_timer_{this};

  SrwLock lock_;
  GuardedSocket socket_;
  bool retry_pending_ = false;  // a failure has been reported, a retry is due
  bool shrink_due_ = false;     // the timer is armed: the pool has grown
  uint64_t last_dry_ms_ = 0;
  size_t surplus_ = 0;  // so many accepts of the pool go as soon as they are not in the kernel
  AcceptOperation* idle_ = nullptr;
  AcceptOperation* waiting_ = nullptr;   // for a place
  bool place_posted_ = false;            // place_operation_ is on its way
  bool acceptor_waits_ = false;          // for a place
  std::atomic<uint64_t> resumed_ms_{0};  // when it has accepted again, 0 for never
  std::vector<std::unique_ptr<AcceptOperation>> pool_;
  PostedOperation<Listener, &Listener::post_waiting> place_operation_{this};
  std::unique_ptr<ConditionalAcceptor> acceptor_;  // made by open(), or never
};

}  // namespace iocp
