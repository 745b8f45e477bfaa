#include "win/engine/engine.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/connection/socket_options.h"
#include "win/sys/extension_functions.h"
#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

// Peers that are refused are told of together, so that a flood of them costs the program next to nothing.
constexpr uint32_t kRefusedMs = 1000;

}  // namespace

Engine::Engine(const EngineOptions& options, Wake wake, void* wake_context)
    : ConnectionEngine(options, wake, wake_context),
      options_(options),
      contexts_(options.max_free_contexts),
      deferred_reads_(new DeferredReads[options.io_threads]) {}

Engine::~Engine() { end_threads(); }

uint32_t Engine::start(const char** syscall) {
  *syscall = "WSAStartup";
  const uint32_t error = load_extension_functions();
  if (error != 0) return error;
  *syscall = "TlsAlloc";
  if (!ThreadIdentity::prepare()) return kErrorNoSystemResources;
  *syscall = "CreateIoCompletionPort";
  if (const uint32_t failed = open_port(options_.skip_on_success && extension_functions().ifs_handles)) return failed;
  *syscall = "CreateThread";
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    auto thread = std::make_unique<IoThread>(this, i);
    if (!thread->start()) {
      end_threads();
      return kErrorNotEnoughMemory;
    }
    threads_.push_back(std::move(thread));
  }
  return 0;
}

uint32_t Engine::add_profile(Profile profile) {
  const ProfileRef added(new SharedProfile(std::move(profile), &profiles_alive_));
  if (free_profiles_.empty()) {
    profiles_.push_back(added);
    return static_cast<uint32_t>(profiles_.size() - 1);
  }
  const uint32_t index = free_profiles_.back();
  free_profiles_.pop_back();
  profiles_[index] = added;
  return index;
}

ProfileRef Engine::profile(uint32_t index) const { return index < profiles_.size() ? profiles_[index] : nullptr; }

bool Engine::free_profile(uint32_t index) {
  if (index >= profiles_.size() || !profiles_[index]) return false;
  free_profiles_.push_back(index);
  profiles_[index] = nullptr;
  return true;
}

uint32_t Engine::listen(const ListenOptions& options, uint32_t* index, const char** syscall) {
  // An I/O thread may be walking over the listeners to close them.
  *syscall = "listen";
  if (stopping()) return kErrorOperationAborted;
  auto listener = std::make_unique<Listener>(this, options, static_cast<uint32_t>(listeners_.size()));
  const uint32_t error = listener->open(syscall);
  if (error != 0) return error;
  *index = listener->index();
  listeners_.push_back(std::move(listener));
  listeners_.back()->start();
  return 0;
}

Listener* Engine::listener(uint32_t index) const {
  return index < listeners_.size() ? listeners_[index].get() : nullptr;
}

void Engine::close_listener(uint32_t index) {
  Listener* found = listener(index);
  if (found == nullptr) return;
  found->close();
  wake_if_needed();  // nothing was pending: it has reported already, on this thread
}

bool Engine::connect(const ConnectOptions& options) {
  if (!try_active_add()) return false;
  auto* attempt = new ConnectAttempt(this, options);
  {
    std::lock_guard<SrwLock> guard(attempts_lock_);
    attempts_[options.token] = attempt;
  }
  attempt->start();
  return true;
}

void Engine::cancel_connect(uint32_t token) {
  Ref<ConnectAttempt> attempt;
  {
    std::lock_guard<SrwLock> guard(attempts_lock_);
    const auto found = attempts_.find(token);
    if (found != attempts_.end()) attempt = Ref<ConnectAttempt>::try_from(found->second);
  }
  if (!attempt) return;
  attempt->cancel(kErrorOperationAborted);
  attempt = nullptr;
  wake_if_needed();
}

void Engine::cancel_all_attempts() {
  std::vector<Ref<ConnectAttempt>> held;
  {
    std::lock_guard<SrwLock> guard(attempts_lock_);
    for (const auto& entry : attempts_) {
      if (auto one = Ref<ConnectAttempt>::try_from(entry.second)) held.push_back(std::move(one));
    }
  }
  for (const auto& attempt : held) attempt->cancel(kErrorOperationAborted);
}

void Engine::remove_attempt(ConnectAttempt* attempt) {
  std::lock_guard<SrwLock> guard(attempts_lock_);
  const auto found = attempts_.find(attempt->token());
  if (found != attempts_.end() && found->second == attempt) attempts_.erase(found);
}

// -- who may connect ------------------------------------------------------------------------------

void Engine::set_access(std::shared_ptr<const AccessRules> rules) {
  if (access_control_ != nullptr) return access_control_->update(std::move(rules));
  access_control_ = std::make_unique<AccessControl>(std::move(rules));
  access_.store(access_control_.get(), std::memory_order_release);
}

void Engine::tell_refused() {
  count(Counter::refused, 1);
  report_refused_soon();
}

void Engine::report_refused_soon() {
  if (access() != nullptr && !refused_timer_armed_.exchange(true)) arm(refused_timer_, kRefusedMs);
}

void Engine::note_refused(Refusal refusal) {
  if (AccessControl* control = access()) control->count_refused(refusal);
  tell_refused();
}

// The timer, on an I/O thread. What is refused before it is said to be armed no more is seen here; what is refused
// afterwards arms it. At the end of the engine active_release() does the same.
void Engine::report_refused() {
  refused_timer_armed_.store(false);
  if (!try_active_add()) return;  // STOPPED is the last record
  deliver_refused();
  active_release();
}

void Engine::deliver_refused() {
  if (access() == nullptr) return;
  AccessControl::Refused refused;
  if (access()->take_refused(&refused)) deliver(record_of(RecordKind::refused, {}), &refused, sizeof(refused), nullptr);
}

// -- connections ----------------------------------------------------------------------------------

uint32_t Engine::add_connection(NewConnection added) {
  const Profile& profile = *added.profile;
  Listener* const listener = added.listener;
  const bool inherits = profile.no_delay && listener != nullptr && listener->inherits_no_delay(added.socket.get());
  apply_socket_options(added.socket.get(), profile, inherits ? NoDelay::inherited : NoDelay::to_set);
  // A socket that this side connected is with the port since before its ConnectEx.
  uint32_t error = listener == nullptr ? 0 : calls::associate(port(), added.socket.handle());
  if (error == 0 && skips_on_success()) error = calls::skip_port_on_success(added.socket.handle());
  if (error != 0) return error;
  Connection* connection =
      contexts_.create(this, added.profile, std::move(added.socket), added.local, added.remote, listener);
  if (connection == nullptr) return kErrorNotEnoughMemory;
  connection->set_subnet_bits(added.subnet_bits);
  if (listener != nullptr && !listener->knows_arrival_time()) connection->receiver().may_have_waited();
  if (added.preamble) {
    connection->begin_preamble(added.preamble);
    listener->preamble_began();
  }
  if (added.preface.size != 0) connection->sender().push_preface(added.preface);
  active_add();
  // From the insertion on others find it and may close it: it stays until this function is done.
  Ref<Connection> held(connection);
  const ConnectionId id = connections_.insert(connection, [&](ConnectionId given) { connection->set_id(given); });
  if (!id.valid()) {
    if (added.preamble) listener->preamble_ended();
    (void)held.detach();
    contexts_.destroy(connection);
    active_release();
    return kErrorNotEnoughMemory;
  }
  // No strand runs before the request below.
  if (added.preamble) {
    added.preamble->begin(connection);
  } else {
    announce(connection, added.announcement, {});
  }
  // Too late for the walk over all connections that ends them.
  if (stopping()) connection->close(CloseCause::server_closing, kWsaEtimedout, true);
  // Its time limits begin, if it has any. Served at the end of the turn: the next accept first.
  uint32_t wanted = Connection::kReceive;
  if (connection->watch() != nullptr) wanted |= Connection::kUpkeep;
  if (added.preface.size != 0) wanted |= Connection::kSend;
  connection->request(wanted);
  return 0;
}

// A balancer's own address was not asked about when it came; its client's is now.
bool Engine::admit(Connection* connection, bool is_client) {
  // The server may be closing: with workers the engine goes on until their jobs have ended.
  if (stopping() || connection->listener()->is_closing()) {
    connection->close(CloseCause::server_closing, kWsaEtimedout, true);
    return false;
  }
  if (!is_client) return true;
  AccessControl* const control = access();
  if (control == nullptr) {
    connection->set_subnet_bits(AccessControl::kNotCounted);
    return true;
  }
  uint8_t subnet_bits = AccessControl::kNotCounted;
  // Its socket has had its place since it was accepted.
  const Refusal refusal =
      control->enter(connection->remote(), nullptr, connection->listener()->knows_arrival_time(), &subnet_bits);
  connection->set_subnet_bits(subnet_bits);
  if (refusal == Refusal::none) return true;
  tell_refused();
  connection->close(CloseCause::refused, 0, control->resets());
  return false;
}

void Engine::announce(Connection* connection, ByteSpan details) {
  connection->listener()->preamble_ended();
  count(Counter::accepts, 1);
  announce(connection, record_of(RecordKind::connection, {}, 0, 0, connection->listener()->index()), details);
}

void Engine::announce(Connection* connection, Record record, ByteSpan details) {
  const uint64_t open = open_connections_.fetch_add(1, std::memory_order_relaxed) + 1;
  total_connections_.fetch_add(1, std::memory_order_relaxed);
  uint64_t peak = peak_connections_.load(std::memory_order_relaxed);
  while (open > peak && !peak_connections_.compare_exchange_weak(peak, open)) {
  }
  record.slot = connection->id().slot;
  record.generation = connection->id().generation;
  uint8_t blob[2 * Address::kMaxBlob];
  size_t size = connection->remote().write_blob(blob);
  size += connection->local().write_blob(blob + size);
  if (details.size == 0) return deliver(record, blob, size, nullptr);
  std::vector<uint8_t> all(blob, blob + size);
  all.insert(all.end(), details.data, details.data + details.size);
  deliver(record, all.data(), all.size(), nullptr);
}

void Engine::remove_connection(Connection* connection) {
  const bool announced = connection->is_announced();
  if (announced) {
    count(Counter::closes, 1);
  } else {
    connection->listener()->preamble_ended();
    count(Counter::accept_failures, connection->was_undecided() ? 1 : 0);
  }
  Listener* const listener = connection->listener();
  if (AccessControl* control = access()) {
    control->leave(connection->remote(), connection->subnet_bits());
    if (connection->listener() != nullptr && connection->subnet_bits() != AccessControl::kExempt) {
      judge(*control, *connection);
    }
  }
  connections_.erase(connection->id());
  if (announced && stopping()) {
    const bool cut = connection->was_cut();
    (cut ? cut_ : drained_).fetch_add(1, std::memory_order_relaxed);
  }
  contexts_.destroy(connection);
  if (announced) open_connections_.fetch_sub(1, std::memory_order_relaxed);
  // Last: from here on another one may be accepted in its place.
  if (listener != nullptr) listener->connection_closed();
  active_release();
}

// What an accepted connection has done may be a reason to ban its peer.
void Engine::judge(AccessControl& control, const Connection& connection) {
  switch (connection.cause()) {
    case CloseCause::protocol_error:
      control.offend(connection.remote(), Offence::protocol_error);
      return;
    case CloseCause::first_packet_timeout:
      control.offend(connection.remote(), Offence::first_packet_timeout);
      return;
    case CloseCause::rate_exceeded:
      if (connection.receiver().bans_peer()) {
        control.ban_for(connection.remote(), Offence::rate_exceeded);
      } else {
        control.offend(connection.remote(), Offence::rate_exceeded);
      }
      return;
    default:
      return;
  }
}

SendQueue::Totals Engine::queued() {
  SendQueue::Totals sum{0, 0};
  connections_.for_each([&](ConnectionId, Connection& connection) {
    const SendQueue::Totals own = connection.sender().queued();
    sum.bytes += own.bytes;
    sum.packets += own.packets;
  });
  return sum;
}

Engine::Totals Engine::totals() const {
  return {open_connections_.load(std::memory_order_relaxed),
          peak_connections_.load(std::memory_order_relaxed),
          total_connections_.load(std::memory_order_relaxed),
          active_.value(),
          direct_reads(),
          profiles_alive_.load(std::memory_order_relaxed)};
}

}  // namespace iocp
