#include "win/engine/listener.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/connection/socket_options.h"
#include "win/engine/conditional_acceptor.h"
#include "win/engine/engine.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

constexpr uint32_t kRetryMs = 100;  // doubled from failure to failure, up to
constexpr uint32_t kMostRetryMs = 1000;
// Peers that left early make an accept fail at once: so many in a row are taken as bad luck.
constexpr uint32_t kMaxImmediateFailures = 16;

// listen() clamps a plain backlog to 200; a negative one, SOMAXCONN_HINT, is taken as it is.
int backlog_argument(uint32_t backlog) {
  return backlog == 0 ? SOMAXCONN : -static_cast<int>((std::min)(backlog, 65535u));
}

}  // namespace

AcceptOperation::AcceptOperation(Listener* owner) : Operation(&Listener::on_accept), listener(owner) {}

Listener::Listener(Engine* engine, const ListenOptions& options, uint32_t index)
    : engine_(engine), options_(options), index_(index), places_(options.max_connections), retry_ms_(kRetryMs) {}

Listener::~Listener() = default;

uint32_t Listener::open(const char** syscall) {
  UniqueSocket socket;
  *syscall = "socket";
  uint32_t error = calls::open_stream(options_.address.family(), &socket);
  if (error != 0) return error;
  *syscall = "setsockopt";
  if (options_.exclusive) error = calls::set_exclusive(socket.get());
  if (error != 0) return error;
  if (options_.address.family() == AF_INET6) {
    error = calls::set_v6_only(socket.get(), !options_.dual_stack);
    if (error != 0) return error;
  }
  // Where the system lacks it (Wine), peers are refused behind the handshake.
  const bool conditional = options_.conditional && calls::set_conditional_accept(socket.get()) == 0;
  *syscall = "bind";
  error = calls::bind_to(socket.get(), options_.address.get(), options_.address.size());
  if (error != 0) return error;
  apply_listener_options(socket.get(), *options_.profile);
  *syscall = "listen";
  error = calls::start_listening(socket.get(), backlog_argument(options_.backlog));
  if (error != 0) return error;
  *syscall = "CreateIoCompletionPort";
  error = calls::associate(engine_->port(), socket.handle());
  if (error != 0) return error;
  *syscall = "getsockname";
  error = Address::local_of(socket.get(), &bound_);
  if (error != 0) return error;
  if (conditional) {
    auto acceptor = std::make_unique<ConditionalAcceptor>(this);
    error = acceptor->open(socket.get(), syscall);
    if (error != 0) return error;
    acceptor_ = std::move(acceptor);
  }
  socket_.open(std::move(socket));
  return 0;
}

bool Listener::inherits_no_delay(SOCKET accepted) {
  Inherits known = no_delay_.load(std::memory_order_relaxed);
  if (known == Inherits::unknown) {
    bool on = false;
    if (calls::read_no_delay(accepted, &on) != 0) return false;  // this peer may have left already
    known = on ? Inherits::yes : Inherits::no;
    no_delay_.store(known, std::memory_order_relaxed);
  }
  return known == Inherits::yes;
}

void Listener::start() {
  engine_->active_add();
  add_ref();  // the packet's, for post_first(), or the thread's
  if (acceptor_ != nullptr) return acceptor_->begin();
  engine_->post(&start_operation_);
}

void Listener::join() {
  if (acceptor_ != nullptr) acceptor_->join();
}

void Listener::release() {
  if (!refs_.drop()) return;
  engine_->cancel(retry_timer_);
  engine_->cancel(shrink_timer_);
  engine_->report(RecordKind::listener_closed, {index_, 0});
  engine_->active_release();
}

void Listener::close() {
  UniqueSocket to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.is_closing()) return;
    if (socket_.close()) to_close = socket_.take();
  }
  calls::cancel_and_close(std::move(to_close));
  if (acceptor_ != nullptr) acceptor_->wake();
  release();
}

bool Listener::is_closing() {
  std::lock_guard<SrwLock> guard(lock_);
  return socket_.is_closing();
}

bool Listener::enter() {
  std::lock_guard<SrwLock> guard(lock_);
  return socket_.enter();
}

void Listener::leave() {
  UniqueSocket to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.leave()) to_close = socket_.take();
  }
  calls::cancel_and_close(std::move(to_close));
}

void Listener::post_first() {
  const Ref<Listener> posted = Ref<Listener>::adopt(this);
  // No more than could be posted.
  const uint32_t most = stops_accepting() ? options_.max_connections : options_.accepts;
  const uint32_t size = (std::max)(1u, (std::min)(options_.accepts, most));
  {
    std::lock_guard<SrwLock> guard(lock_);
    for (uint32_t i = 0; i < size; ++i) {
      pool_.push_back(std::make_unique<AcceptOperation>(this));
      pool_.back()->next_idle = idle_;
      idle_ = pool_.back().get();
    }
    pool_size_.store(size, std::memory_order_relaxed);
  }
  post_idle();
}

// Posts every accept that is not in the kernel.
void Listener::post_idle() {
  AcceptOperation* list = nullptr;
  bool after_pause = false;
  {
    std::lock_guard<SrwLock> guard(lock_);
    after_pause = std::exchange(retry_pending_, false);
    list = std::exchange(idle_, nullptr);
  }
  if (after_pause && outstanding() == 0) note_backlog();
  while (list != nullptr) {
    AcceptOperation* operation = std::exchange(list, list->next_idle);
    post_accept(operation);
  }
}

void Listener::post_accept(AcceptOperation* operation) {
  if (retire(operation)) return;
  if (!reserve(operation)) return;  // posted when a connection has closed
  if (!enter()) return;             // stays in the pool until the engine goes
  uint32_t error = 0;
  for (uint32_t attempt = 0; attempt < kMaxImmediateFailures; ++attempt) {
    error = issue(operation);
    if (error == 0 || is_resource_shortage(error)) break;
    engine_->count(Counter::accept_failures, 1);
  }
  leave();
  if (error != 0) schedule_retry(operation, error);
}

// 0 when the accept is in the kernel; it then has a count of its own.
uint32_t Listener::issue(AcceptOperation* operation) {
  uint32_t error = calls::open_stream(options_.address.family(), &operation->socket);
  if (error != 0) return error;
  Ref<Listener> of_accept(this);
  outstanding_.fetch_add(1, std::memory_order_relaxed);
  // The socket stays with the operation, which this thread does not touch after the call.
  error = calls::accept_into(engine_->port(), socket_.get(), operation->socket.get(), operation->addresses,
                             AcceptOperation::kAddressBytes, operation->prepare());
  if (error == 0 || error == WSA_IO_PENDING) {
    (void)of_accept.detach();
    return 0;
  }
  outstanding_.fetch_sub(1, std::memory_order_relaxed);
  operation->socket.reset();
  return error;
}

// An accept has failed that had been pending. A peer that left early is no reason for a pause: each takes a peer to
// fail. Other failures, and so many of those in a row that they look like another one, would come back at once, for
// ever.
bool Listener::needs_pause(uint32_t error) {
  const uint32_t failures = failures_.fetch_add(1, std::memory_order_relaxed) + 1;
  const bool peer_left = established_connection_error(error, false) == kWsaEconnreset;
  return !peer_left || failures > kMaxPool;
}

void Listener::accept_succeeded() {
  if (failures_.load(std::memory_order_relaxed) == 0) return;
  failures_.store(0, std::memory_order_relaxed);
  retry_ms_.store(kRetryMs, std::memory_order_relaxed);
}

// No accept can be posted now: says so once and tries again a little later.
void Listener::schedule_retry(AcceptOperation* operation, uint32_t error) {
  {
    std::lock_guard<SrwLock> guard(lock_);
    operation->next_idle = idle_;
    idle_ = operation;
    if (socket_.is_closing() || std::exchange(retry_pending_, true)) return;
  }
  engine_->arm(retry_timer_, report_failure(error));
}

uint32_t Listener::report_failure(uint32_t error) {
  const uint32_t pause = retry_ms_.load(std::memory_order_relaxed);
  retry_ms_.store((std::min)(2 * pause, kMostRetryMs), std::memory_order_relaxed);
  failures_.fetch_add(1, std::memory_order_relaxed);
  engine_->count(Counter::enobufs, is_resource_shortage(error) ? 1 : 0);
  engine_->report(RecordKind::listener_error, {index_, 0}, error);
  return pause;
}

void Listener::on_accept(Operation* self, uint32_t error, uint32_t) {
  AcceptOperation* operation = static_cast<AcceptOperation*>(self);
  const Ref<Listener> listener = Ref<Listener>::adopt(operation->listener);
  const uint32_t left = listener->outstanding_.fetch_sub(1, std::memory_order_relaxed) - 1;
  if (left == 0 && error == 0) listener->grow();
  // An error means that this one peer left early, that the listener closes, or that the accept was surplus: never a
  // reason to stop accepting.
  bool pause = false;
  // That was cancelled because it is one too many is no failure.
  if (error == kErrorOperationAborted && listener->retire(operation)) return;
  if (error == 0) {
    listener->accept_succeeded();
    if (listener->enter()) {
      listener->admit(operation);
      listener->leave();
    }
  } else {
    // What has been cancelled is no peer that left.
    listener->engine_->count(Counter::accept_failures, error == kErrorOperationAborted ? 0 : 1);
    pause = listener->needs_pause(error);
  }
  operation->socket.reset();
  if (pause) {
    listener->schedule_retry(operation, error);
  } else {
    listener->post_accept(operation);
  }
}

Refusal Listener::judge(const Address& peer, bool has_place, uint8_t* subnet_bits) {
  // A balancer comes in by its name; its client is asked about when its header has told who that is.
  const bool balancer = is_balancer(peer);
  *subnet_bits = balancer ? AccessControl::kExempt : AccessControl::kNotCounted;
  AccessControl* const access = engine_->access();
  if (options_.proxy != nullptr && !options_.proxy->direct && !balancer) {
    if (access != nullptr) access->count_refused(Refusal::denied);
    return Refusal::denied;
  }
  if (access != nullptr && !balancer)
    return access->enter(peer, has_place ? nullptr : &places_, knows_arrival_time(), subnet_bits);
  return has_place || places_.take() ? Refusal::none : Refusal::max_connections;
}

bool Listener::is_balancer(const Address& peer) const {
  return options_.proxy != nullptr && options_.proxy->from.contains(ip_of(peer));
}

// Those whom the access table has been asked about it has counted.
void Listener::note_refused(const Address& peer, Refusal refusal) {
  if (is_balancer(peer)) {
    engine_->note_refused(refusal);
  } else {
    engine_->tell_refused();
  }
}

bool Listener::resets(Refusal refusal) const {
  if (refusal == Refusal::max_connections) return options_.on_max != OnMax::close;
  AccessControl* const access = engine_->access();
  return access == nullptr || access->resets();
}

bool Listener::introduce(UniqueSocket socket, const Address& local, const Address& peer, uint8_t subnet_bits) {
  Ref<Preamble> preamble;
  if (subnet_bits == AccessControl::kExempt) {
    preamble = Ref<Preamble>::adopt(new ProxyPreamble(*options_.proxy, &proxy_errors_));
  } else {
    engine_->count(Counter::accepts, 1);
  }
  const Record announcement = record_of(RecordKind::connection, {}, 0, 0, index_);
  if (engine_->add_connection({std::move(socket), options_.profile, local, peer, this, announcement, subnet_bits,
                               std::move(preamble)}) == 0) {
    return true;
  }
  if (AccessControl* access = engine_->access()) access->leave(peer, subnet_bits);
  engine_->count(Counter::accept_failures, 1);
  return false;
}

void Listener::admit(AcceptOperation* operation) {
  // Without it shutdown, getsockname and getpeername fail on the accepted socket.
  const uint32_t error = calls::update_accept_context(operation->socket.get(), socket_.get());
  if (error != 0) {
    engine_->count(Counter::accept_failures, 1);
    return;
  }
  sockaddr* local = nullptr;
  sockaddr* remote = nullptr;
  int local_size = 0;
  int remote_size = 0;
  extension_functions().get_accept_ex_sockaddrs(operation->addresses, 0, AcceptOperation::kAddressBytes,
                                                AcceptOperation::kAddressBytes, &local, &local_size, &remote,
                                                &remote_size);
  const Address peer = Address::from(remote, remote_size).unmapped();
  // Refused before it costs anything more.
  if (engine_->stopping()) {
    calls::make_close_abortive(operation->socket.get());
    return;
  }
  uint8_t subnet_bits = AccessControl::kNotCounted;
  const Refusal refusal = judge(peer, operation->has_place, &subnet_bits);
  if (refusal != Refusal::none) {
    note_refused(peer, refusal);
    if (resets(refusal)) calls::make_close_abortive(operation->socket.get());
    return;
  }
  const bool had_place = std::exchange(operation->has_place, false);
  if (introduce(std::move(operation->socket), Address::from(local, local_size).unmapped(), peer, subnet_bits)) return;
  operation->has_place = had_place;
  if (!had_place) places_.give_back();
}

}  // namespace iocp
