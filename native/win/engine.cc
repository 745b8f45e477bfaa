#include "win/engine.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "win/extension_functions.h"
#include "win/socket_calls.h"
#include "win/socket_options.h"

namespace iocp {
namespace {

constexpr size_t kReadBuffer = 64 * 1024;  // for what is there already
constexpr size_t kWaitBuffer = 8 * 1024;   // for what is to come
constexpr uint32_t kDirectReadLimit = 16 * 1024;
constexpr uint32_t kHousekeepingMs = 1000;
constexpr uint32_t kTimerGranularityMs = 16;

}  // namespace

Engine::Engine(const EngineOptions& options, Wake wake, void* wake_context)
    : options_(options),
      wake_(wake),
      wake_context_(wake_context),
      delivery_(options.delivery),
      counters_(options.io_threads),
      read_buffers_(kReadBuffer, options.max_free_buffers),
      wait_buffers_(kWaitBuffer, options.max_free_buffers),
      contexts_(options.max_free_contexts),
      thread_ids_(new std::atomic<DWORD>[options.io_threads] {}),
      timers_(now_ms(), kTimerGranularityMs),
      direct_limit_(kDirectReadLimit) {}

Engine::~Engine() { end_threads(); }

uint32_t Engine::start() {
  const uint32_t error = load_extension_functions();
  if (error != 0) return error;
  skip_on_success_ = options_.skip_on_success && extension_functions().ifs_handles;
  if (!port_.create(options_.io_threads)) return GetLastError();
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

void Engine::enter_thread(uint32_t index) {
  thread_ids_[index].store(GetCurrentThreadId(), std::memory_order_relaxed);
}

// 0: not an I/O thread of this engine; else 1 + its index.
size_t Engine::thread_index() const {
  const DWORD self = GetCurrentThreadId();
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    if (thread_ids_[i].load(std::memory_order_relaxed) == self) return i + 1;
  }
  return 0;
}

uint32_t Engine::add_profile(Profile profile) {
  profiles_.push_back(std::make_unique<Profile>(std::move(profile)));
  return static_cast<uint32_t>(profiles_.size() - 1);
}

const Profile* Engine::profile(uint32_t index) const {
  return index < profiles_.size() ? profiles_[index].get() : nullptr;
}

uint32_t Engine::listen(const ListenOptions& options, uint32_t* index, const char** syscall) {
  // An I/O thread may be walking over the listeners to close them.
  *syscall = "listen";
  if (stopping()) return kErrorOperationAborted;
  auto listener = std::make_unique<Listener>(this, options,
                                             static_cast<uint32_t>(listeners_.size()));
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
  ConnectAttempt* attempt = nullptr;
  {
    std::lock_guard<SrwLock> guard(attempts_lock_);
    const auto found = attempts_.find(token);
    if (found != attempts_.end() && found->second->try_add_ref()) attempt = found->second;
  }
  if (attempt == nullptr) return;
  attempt->cancel(kErrorOperationAborted);
  attempt->release();
  wake_if_needed();
}

void Engine::cancel_all_attempts() {
  std::vector<ConnectAttempt*> held;
  {
    std::lock_guard<SrwLock> guard(attempts_lock_);
    for (const auto& entry : attempts_) {
      if (entry.second->try_add_ref()) held.push_back(entry.second);
    }
  }
  for (ConnectAttempt* attempt : held) {
    attempt->cancel(kErrorOperationAborted);
    attempt->release();
  }
}

void Engine::forget_attempt(ConnectAttempt* attempt) {
  std::lock_guard<SrwLock> guard(attempts_lock_);
  const auto found = attempts_.find(attempt->token());
  if (found != attempts_.end() && found->second == attempt) attempts_.erase(found);
}

// -- operations and requests ----------------------------------------------------------------------

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

void Engine::end_turn() {
  if (has_unposted_.load(std::memory_order_acquire)) serve_unposted();
  if (has_ready_.load(std::memory_order_acquire)) serve_ready();
  wake_if_needed();
}

void Engine::deliver_sent(ConnectionId id, uint32_t token, SendOutcome outcome) {
  deliver({static_cast<uint32_t>(RecordKind::sent), id.slot, id.generation, token,
           static_cast<uint32_t>(outcome), 0},
          nullptr, 0, nullptr);
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
uint32_t Engine::begin_wait(uint64_t* wake_at) {
  *wake_at = 0;
  // Serving connections has left requests behind (their turn was over): look at the port and go on.
  if (has_ready_.load(std::memory_order_acquire)) return 0;
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
  const uint32_t limit = direct_limit_.load(std::memory_order_relaxed);
  if (limit < kDirectReadLimit) direct_limit_.store(limit + limit / 16 + 1);
}

// -- connections ----------------------------------------------------------------------------------

bool Engine::adopt(UniqueSocket socket, const Profile* profile, const Address& local,
                   const Address& remote, Listener* listener, const Record& announcement) {
  if (!apply_socket_options(socket.get(), *profile)) return false;
  // A socket that this side connected is with the port since before its ConnectEx.
  if (listener != nullptr && calls::associate(port_, socket.handle()) != 0) return false;
  if (skip_on_success_ && !skip_port_on_success(socket.handle())) return false;
  Connection* connection = contexts_.create(this, profile, std::move(socket), local, remote,
                                            listener);
  if (connection == nullptr) return false;
  active_add();
  // From the insertion on others find it and may close it: it stays until this function is done.
  connection->add_ref();
  const ConnectionId id =
      connections_.insert(connection, [&](ConnectionId given) { connection->set_id(given); });
  if (!id.valid()) {
    contexts_.destroy(connection);
    active_release();
    return false;
  }
  const uint64_t open = open_connections_.fetch_add(1, std::memory_order_relaxed) + 1;
  total_connections_.fetch_add(1, std::memory_order_relaxed);
  uint64_t peak = peak_connections_.load(std::memory_order_relaxed);
  while (open > peak && !peak_connections_.compare_exchange_weak(peak, open)) {
  }
  Record record = announcement;
  record.slot = id.slot;
  record.generation = id.generation;
  uint8_t blob[2 * Address::kMaxBlob];
  size_t size = remote.write_blob(blob);
  size += local.write_blob(blob + size);
  deliver(record, blob, size, nullptr);
  // Too late for the walk over all connections that ends them.
  if (stopping()) connection->close(CloseCause::server_closing, 0, true);
  connection->request(Connection::kReceive);  // served at the end of the turn: the next accept first
  connection->release();
  return true;
}

void Engine::forget(Connection* connection) {
  count(Counter::closes, 1);
  if (Listener* listener = connection->listener()) listener->connection_closed();
  connections_.erase(connection->id());
  if (stopping()) {
    const bool cut = connection->was_cut();
    (cut ? cut_ : drained_).fetch_add(1, std::memory_order_relaxed);
  }
  contexts_.destroy(connection);
  open_connections_.fetch_sub(1, std::memory_order_relaxed);
  active_release();
}

template <class F>
void Engine::for_each_held(F&& f) {
  // Counts are taken under the map's lock and used outside of it.
  std::vector<Connection*> held;
  connections_.for_each([&](ConnectionId, Connection& connection) {
    if (connection.try_add_ref()) held.push_back(&connection);
  });
  for (Connection* connection : held) {
    f(*connection);
    connection->release();
  }
}

// -- the end --------------------------------------------------------------------------------------

void Engine::stop(uint32_t deadline_ms) {
  if (stopping_.exchange(true, std::memory_order_acq_rel)) return;
  stop_deadline_ms_ = deadline_ms;
  post(&stop_operation_);
}

void Engine::begin_stop() {
  for (const auto& listener : listeners_) listener->close();
  cancel_all_attempts();
  for_each_held([&](Connection& connection) {
    if (stop_deadline_ms_ == 0) {
      connection.close(CloseCause::server_closing, kWsaEtimedout, true);
    } else {
      connection.request_end(CloseCause::server_closing, stop_deadline_ms_);
    }
  });
  if (stop_deadline_ms_ != 0) arm(stop_timer_, stop_deadline_ms_);
  active_release();  // the engine's own
}

// The deadline has passed, or the environment goes.
void Engine::cut_all() {
  for_each_held([](Connection& connection) {
    connection.close(CloseCause::server_closing, kWsaEtimedout, true);
  });
}

bool Engine::try_active_add() {
  uint64_t active = active_.load(std::memory_order_relaxed);
  while (active != 0) {
    if (active_.compare_exchange_weak(active, active + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void Engine::active_release() {
  if (active_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  cancel(stop_timer_);
  deliver({static_cast<uint32_t>(RecordKind::stopped), 0, 0, drained_.load(), cut_.load(), 0},
          nullptr, 0, nullptr);
  std::lock_guard<SrwLock> guard(stopped_lock_);
  stopped_ = true;
  stopped_changed_.notify_all();
}

void Engine::join() { end_threads(); }

void Engine::abandon() {
  if (threads_.empty()) return;
  stop(0);
  post(&cut_operation_);  // a stop with a deadline may be under way: it has none any more
  {
    std::lock_guard<SrwLock> guard(stopped_lock_);
    while (!stopped_) stopped_changed_.wait(stopped_lock_);
  }
  end_threads();
}

void Engine::end_threads() {
  for (size_t i = 0; i < threads_.size(); ++i) post_quit();
  for (const auto& thread : threads_) thread->join();
  threads_.clear();
}

void Engine::post_quit() {
  // Nobody else can end the threads: while the kernel is short of memory this waits.
  while (!port_.post_quit()) Sleep(10);
}

SendQueue::Totals Engine::queued() {
  SendQueue::Totals sum{0, 0};
  connections_.for_each([&](ConnectionId, Connection& connection) {
    const SendQueue::Totals own = connection.queued();
    sum.bytes += own.bytes;
    sum.packets += own.packets;
  });
  return sum;
}

Engine::Totals Engine::totals() const {
  return {open_connections_.load(std::memory_order_relaxed),
          peak_connections_.load(std::memory_order_relaxed),
          total_connections_.load(std::memory_order_relaxed),
          active_.load(std::memory_order_relaxed),
          direct_reads_.load(std::memory_order_relaxed)};
}

}  // namespace iocp
