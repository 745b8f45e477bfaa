#include "core/job_queue.h"

#include <algorithm>
#include <utility>

namespace iocp {
namespace {

uint64_t microseconds(JobQueue::Clock::duration duration) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

}  // namespace

JobQueue::~JobQueue() = default;

JobQueue::AddResult JobQueue::add(Job job, bool force, JobId* id, WakeList* wake) {
  if (closed_) return AddResult::closed;
  if (!force && full()) return AddResult::full;
  if (free_ == kNone && entries_.size() == kMaxJobSlots) return AddResult::full;
  const uint32_t slot = allocate();
  Entry& entry = entries_[slot];
  entry.job = std::move(job);
  entry.added = Clock::now();
  ++queued_;
  bytes_ += entry.job.bytes.size;
  *id = {slot, entry.generation};
  if (is_chained(entry)) {
    const auto chain = chains_.try_emplace(entry.job.connection.number());
    if (!chain.second) {
      entry.state = State::chained;
      push_back(&chain.first->second, slot);
      return AddResult::queued;
    }
  }
  make_ready(slot);
  wake_for_ready(wake);
  return AddResult::queued;
}

JobQueue::CancelResult JobQueue::cancel(JobId id, Settled* settled, WakeList* wake) {
  Entry* entry = find(id);
  if (entry == nullptr) return CancelResult::gone;
  switch (entry->state) {
    case State::free:
    case State::abandoned:
      return CancelResult::gone;
    case State::chained:
      remove(&chains_[entry->job.connection.number()], id.slot);
      break;
    case State::ready:
      remove(&ready_list(*entry), id.slot);
      release_chain(*entry);
      break;
    case State::running:
      *settled = settle(id.slot);
      entry->state = State::abandoned;
      --running_;
      release_chain(*entry);
      entry->worker->aborts.push_back(id.slot);
      wake_worker(entry->worker, wake);
      wake_for_ready(wake);
      return CancelResult::running;
  }
  *settled = settle(id.slot);
  --queued_;
  bytes_ -= entry->job.bytes.size;
  free_entry(id.slot);
  wake_for_ready(wake);
  return CancelResult::removed;
}

void JobQueue::close(std::vector<Settled>* cancelled) {
  closed_ = true;
  take_out(cancelled);
}

void JobQueue::take_out(std::vector<Settled>* waiting) {
  for (uint32_t slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (entry.state != State::ready && entry.state != State::chained) continue;
    waiting->push_back(settle(slot));
    free_entry(slot);
  }
  for (List& list : ready_) list = List{};
  chains_.clear();
  // A chain exists while one of its jobs runs, too.
  for (const WorkerSlot* worker : workers_) {
    for (const uint32_t slot : worker->held) {
      const Entry& entry = entries_[slot];
      if (entry.state == State::running && is_chained(entry)) {
        chains_.try_emplace(entry.job.connection.number());
      }
    }
  }
  queued_ = 0;
  bytes_ = 0;
}

void JobQueue::attach(WorkerSlot* worker) {
  worker->awake = true;
  workers_.push_back(worker);
}

void JobQueue::detach(WorkerSlot* worker, const std::vector<uint32_t>& unstarted, std::vector<Settled>* lost,
                      WakeList* wake) {
  workers_.erase(std::remove(workers_.begin(), workers_.end(), worker), workers_.end());
  // From the last to the first, so that those that wait again do so in the order they had.
  for (auto at = worker->held.rbegin(); at != worker->held.rend(); ++at) {
    const uint32_t slot = *at;
    Entry& entry = entries_[slot];
    const bool waits_again = !closed_ && entry.state == State::running && !entry.job.announce &&
                             std::find(unstarted.begin(), unstarted.end(), slot) != unstarted.end();
    if (waits_again) {
      --running_;
      ++queued_;
      bytes_ += entry.job.bytes.size;
      entry.worker = nullptr;
      entry.state = State::ready;
      push_front(&ready_list(entry), slot);
      continue;
    }
    lost->push_back(settle(slot));
    if (entry.state == State::running) {
      --running_;
      release_chain(entry);
    }
    free_entry(slot);
  }
  worker->held.clear();
  worker->aborts.clear();
  wake_for_ready(wake);
}

void JobQueue::retire(WorkerSlot* worker, WakeList* wake) {
  if (worker->retiring) return;
  worker->retiring = true;
  wake_worker(worker, wake);
  wake_for_ready(wake);  // it may have been the one that was awake
}

void JobQueue::take(WorkerSlot* worker, size_t most, std::vector<Taken>* jobs, WakeList* wake) {
  const size_t room = worker->capacity > worker->held.size() ? worker->capacity - worker->held.size() : 0;
  most = worker->retiring ? 0 : (std::min)(most, room);
  size_t taken = 0;
  uint64_t bytes = 0;
  const Clock::time_point now = Clock::now();
  for (List& list : ready_) {
    while (taken < most && list.first != kNone) {
      const uint32_t slot = list.first;
      Entry& entry = entries_[slot];
      bytes += entry.job.bytes.size;
      if (taken != 0 && bytes > kMaxTakenBytes) {
        most = taken;  // the rest next time: the worker stays awake
        break;
      }
      remove(&list, slot);
      entry.state = State::running;
      entry.worker = worker;
      entry.started = now;
      --queued_;
      ++running_;
      bytes_ -= entry.job.bytes.size;
      worker->held.push_back(slot);
      jobs->push_back({{slot, entry.generation},
                       entry.job.kind,
                       entry.job.announce,
                       entry.job.skip_when_closed,
                       entry.job.connection,
                       entry.job.bytes.data.get(),
                       entry.job.bytes.size,
                       microseconds(now - entry.added)});
      ++taken;
    }
  }
  if (taken == 0) worker->awake = false;
  wake_for_ready(wake);
}

void JobQueue::take_aborts(WorkerSlot* worker, std::vector<uint32_t>* slots) {
  slots->insert(slots->end(), worker->aborts.begin(), worker->aborts.end());
  worker->aborts.clear();
}

bool JobQueue::complete(WorkerSlot* worker, uint32_t slot, Settled* settled, WakeList* wake) {
  if (slot >= entries_.size() || entries_[slot].worker != worker) return false;
  Entry& entry = entries_[slot];
  *settled = settle(slot);
  if (entry.state == State::running) {
    --running_;
    release_chain(entry);
  }
  let_go(worker, slot);
  free_entry(slot);
  if (has_ready() && !worker->retiring) wake_worker(worker, wake);
  if (worker->retiring && worker->held.empty()) wake_worker(worker, wake);
  wake_for_ready(wake);
  return true;
}

bool JobQueue::runs(const WorkerSlot* worker, uint32_t slot) const {
  return slot < entries_.size() && entries_[slot].worker == worker && entries_[slot].state == State::running;
}

bool JobQueue::is_stuck(JobId id) const {
  const Entry* entry = find(id);
  return entry != nullptr && entry->state == State::abandoned;
}

void JobQueue::overdue(JobKind kind, Clock::duration limit, std::vector<JobId>* ids) const {
  const Clock::time_point now = Clock::now();
  for (const WorkerSlot* worker : workers_) {
    for (const uint32_t slot : worker->held) {
      const Entry& entry = entries_[slot];
      if (entry.state == State::running && entry.job.kind == kind && now - entry.started > limit) {
        ids->push_back({slot, entry.generation});
      }
    }
  }
}

WorkerSlot* JobQueue::holder(JobId id) const {
  const Entry* entry = find(id);
  return entry == nullptr ? nullptr : entry->worker;
}

WorkerSlot* JobQueue::find_worker(uint32_t number) const {
  for (WorkerSlot* worker : workers_) {
    if (worker->number == number) return worker;
  }
  return nullptr;
}

JobQueue::Counts JobQueue::counts() const {
  Counts counts{0, 0, queued_, running_, bytes_};
  for (const WorkerSlot* worker : workers_) {
    if (worker->retiring) continue;
    ++counts.size;
    if (worker->held.empty()) ++counts.idle;
  }
  return counts;
}

// -- entries and lists ----------------------------------------------------------------------------

uint32_t JobQueue::allocate() {
  uint32_t slot = free_;
  if (slot == kNone) {
    slot = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    free_ = entries_[slot].next;
  }
  Entry& entry = entries_[slot];
  if (++entry.generation == 0) entry.generation = 1;
  entry.previous = entry.next = kNone;
  entry.worker = nullptr;
  return slot;
}

void JobQueue::free_entry(uint32_t slot) {
  Entry& entry = entries_[slot];
  entry.job = Job{};
  entry.state = State::free;
  entry.worker = nullptr;
  entry.previous = kNone;
  entry.next = free_;
  free_ = slot;
}

void JobQueue::push_back(List* list, uint32_t slot) {
  Entry& entry = entries_[slot];
  entry.previous = list->last;
  entry.next = kNone;
  (list->last == kNone ? list->first : entries_[list->last].next) = slot;
  list->last = slot;
}

void JobQueue::push_front(List* list, uint32_t slot) {
  Entry& entry = entries_[slot];
  entry.previous = kNone;
  entry.next = list->first;
  (list->first == kNone ? list->last : entries_[list->first].previous) = slot;
  list->first = slot;
}

void JobQueue::remove(List* list, uint32_t slot) {
  Entry& entry = entries_[slot];
  (entry.previous == kNone ? list->first : entries_[entry.previous].next) = entry.next;
  (entry.next == kNone ? list->last : entries_[entry.next].previous) = entry.previous;
  entry.previous = entry.next = kNone;
}

bool JobQueue::has_ready() const {
  return std::any_of(std::begin(ready_), std::end(ready_), [](const List& list) { return list.first != kNone; });
}

void JobQueue::make_ready(uint32_t slot) {
  entries_[slot].state = State::ready;
  push_back(&ready_list(entries_[slot]), slot);
}

void JobQueue::release_chain(const Entry& entry) {
  if (!is_chained(entry)) return;
  const auto chain = chains_.find(entry.job.connection.number());
  if (chain == chains_.end()) return;  // close() has emptied everything
  const uint32_t next = chain->second.first;
  if (next == kNone) {
    chains_.erase(chain);
    return;
  }
  remove(&chain->second, next);
  make_ready(next);
}

// -- workers ----------------------------------------------------------------------------------------

void JobQueue::wake_worker(WorkerSlot* worker, WakeList* wake) {
  if (worker->awake) return;
  worker->awake = true;
  wake->push_back(worker->waker);
}

// One worker that runs nothing is enough: it wakes the next one when it has taken what it can and there
// is more. A worker that does run something may be in the middle of a handler for a long time, so where
// there are only such, all that have room are woken.
void JobQueue::wake_for_ready(WakeList* wake) {
  if (!has_ready()) return;
  for (WorkerSlot* worker : workers_) {
    if (!worker->retiring && worker->held.empty() && !worker->awake) return wake_worker(worker, wake);
  }
  for (WorkerSlot* worker : workers_) {
    if (worker->retiring || worker->held.size() >= worker->capacity) continue;
    // Also where one that runs nothing is awake already: its thread may be busy with what no job waits for.
    wake_worker(worker, wake);
  }
}

void JobQueue::let_go(WorkerSlot* worker, uint32_t slot) {
  const auto erase = [slot](std::vector<uint32_t>* list) {
    list->erase(std::remove(list->begin(), list->end(), slot), list->end());
  };
  erase(&worker->held);
  erase(&worker->aborts);
}

// -- look-ups -------------------------------------------------------------------------------------

JobQueue::Settled JobQueue::settle(uint32_t slot) const {
  const Entry& entry = entries_[slot];
  const uint64_t ran = entry.state == State::running ? microseconds(Clock::now() - entry.started) : 0;
  return {{slot, entry.generation}, entry.job.kind, entry.state == State::abandoned, entry.job.connection, ran};
}

JobQueue::Entry* JobQueue::find(JobId id) { return const_cast<Entry*>(static_cast<const JobQueue*>(this)->find(id)); }

const JobQueue::Entry* JobQueue::find(JobId id) const {
  if (id.slot >= entries_.size()) return nullptr;
  const Entry& entry = entries_[id.slot];
  return entry.generation == id.generation && entry.state != State::free ? &entry : nullptr;
}

}  // namespace iocp
