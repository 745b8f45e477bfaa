// How an engine ends: in order, at a deadline, or at once because its environment goes.
#include <mutex>

#include "core/error_table.h"
#include "win/engine/engine.h"

namespace iocp {
namespace {

constexpr uint32_t kBreakOffMs = 100;

}  // namespace

void Engine::stop(uint32_t deadline_ms) {
  if (stopping_.exchange(true, std::memory_order_acq_rel)) return;
  stop_deadline_ms_ = deadline_ms;
  post(&stop_operation_);
}

void Engine::begin_shutdown() {
  for (const auto& listener : listeners_) listener->close();
  cancel_all_attempts();
  for_each_connection([&](Connection& connection) {
    // Nobody has seen what is not announced.
    if (stop_deadline_ms_ == 0 || !connection.is_announced()) {
      connection.close_now(CloseCause::server_closing, kWsaEtimedout, true);
    } else {
      connection.request_end(CloseCause::server_closing, stop_deadline_ms_);
    }
  });
  if (stop_deadline_ms_ != 0) {
    arm(stop_timer_, stop_deadline_ms_);
  } else {
    disk().break_off();
  }
  active_release();  // the engine's own
}

// The deadline has passed, or the environment goes.
void Engine::reset_all() {
  for_each_connection(
      [](Connection& connection) { connection.close_now(CloseCause::server_closing, kWsaEtimedout, true); });
  disk().break_off();
}

void Engine::active_release() {
  if (!active_.drop()) return;
  cancel(stop_timer_);
  cancel(refused_timer_);
  deliver_refused();  // nobody connects any more
  report(RecordKind::stopped, {}, drained_.load(), cut_.load());
  std::lock_guard<SrwLock> guard(stopped_lock_);
  stopped_ = true;
  stopped_changed_.notify_all();
}

void Engine::join() { end_threads(); }

void Engine::shutdown_now() {
  if (threads_.empty()) return;
  stop(0);
  post(&cut_operation_);  // a stop with a deadline may be under way: it has none any more
  {
    std::lock_guard<SrwLock> guard(stopped_lock_);
    while (!stopped_) {
      // A disk thread may have begun to open a file in the very moment.
      if (!stopped_changed_.wait_for(stopped_lock_, kBreakOffMs)) disk().break_off();
    }
  }
  end_threads();
}

void Engine::end_threads() {
  for (size_t i = 0; i < threads_.size(); ++i) post_quit();
  for (const auto& thread : threads_) thread->join();
  threads_.clear();
  for (const auto& listener : listeners_) listener->join();
  disk().end();
}

}  // namespace iocp
