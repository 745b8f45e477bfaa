#pragma once
// Work that may wait for a disk, on its way to the few threads that do so.
//
// What has work is in the queue at most once, however often it asks, and runs on one thread at a time: so the queue
// is as long as there are files, and one file holds one thread. Each turn is one step (one read, one write); what has
// more goes to the end, so that a file with much to do keeps no other back.
//
// There are two lanes. Ends (a file is closed, a connection waits for that) go before everything else, and have a
// thread of their own where the others are all waiting for a disk.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

namespace iocp {

enum class DiskLane : uint8_t { work, end };

// Something that has work for a disk. Its links belong to the queue.
class DiskWork {
 public:
  // A disk thread, without locks.
  virtual void run_on_disk() = 0;
  // A count, from the first schedule() on until nothing is to be done any more: taken under locks, given back by a
  // disk thread without any, as the last touch.
  virtual void hold_for_disk() = 0;
  virtual void let_go_of_disk() = 0;

 protected:
  DiskWork() = default;
  ~DiskWork() = default;
  DiskWork(const DiskWork&) = delete;
  DiskWork& operator=(const DiskWork&) = delete;

 private:
  template <class, class>
  friend class DiskQueue;
  enum class State : uint8_t { idle, queued, running, again };
  DiskWork* next_ = nullptr;
  DiskWork* previous_ = nullptr;
  State state_ = State::idle;
  DiskLane lane_ = DiskLane::work;
};

template <class Lock, class Condition>
class DiskQueue final {
 public:
  DiskQueue() = default;
  DiskQueue(const DiskQueue&) = delete;
  DiskQueue& operator=(const DiskQueue&) = delete;

  // Any thread; locks may be held. A run of the work begins after this. True when more is queued than there are
  // threads that sleep.
  bool schedule(DiskWork* work, DiskLane lane) {
    std::lock_guard<Lock> guard(lock_);
    switch (work->state_) {
      case DiskWork::State::idle:
        work->hold_for_disk();
        work->lane_ = lane;
        push(work);
        return wake();
      case DiskWork::State::queued:
        return advance(work, lane) && wake();
      case DiskWork::State::running:
        work->state_ = DiskWork::State::again;
        work->lane_ = lane;
        return false;
      case DiskWork::State::again:
        if (lane == DiskLane::end) work->lane_ = lane;
        return false;
    }
    return false;
  }

  // Any thread; locks may be held. If it waits, or has to wait once more behind its present run, it does so with the
  // ends from now on.
  bool hurry(DiskWork* work) {
    std::lock_guard<Lock> guard(lock_);
    if (work->state_ == DiskWork::State::again) work->lane_ = DiskLane::end;
    return work->state_ == DiskWork::State::queued && advance(work, DiskLane::end) && wake();
  }

  // A disk thread: works until stop(). `after` is called behind each step, without locks.
  template <class After>
  void run(bool ends_only, After&& after) {
    for (;;) {
      DiskWork* work = take(ends_only);
      if (work == nullptr) return;
      work->run_on_disk();
      if (finish(work, ends_only)) work->let_go_of_disk();
      after();
    }
  }

  // Nothing is scheduled any more; the threads end when nothing is queued.
  void stop() {
    std::lock_guard<Lock> guard(lock_);
    stopped_ = true;
    any_came_.notify_all();
    end_came_.notify_all();
  }

  struct Depth {
    size_t queued;
    size_t running;
  };
  Depth depth() {
    std::lock_guard<Lock> guard(lock_);
    return {queued_, running_};
  }

 private:
  struct List {
    DiskWork* first = nullptr;
    DiskWork* last = nullptr;
  };

  void push(DiskWork* work) {
    List& list = lanes_[static_cast<size_t>(work->lane_)];
    work->state_ = DiskWork::State::queued;
    work->next_ = nullptr;
    work->previous_ = list.last;
    (list.last == nullptr ? list.first : list.last->next_) = work;
    list.last = work;
    ++queued_;
  }

  void remove(DiskWork* work) {
    List& list = lanes_[static_cast<size_t>(work->lane_)];
    (work->previous_ == nullptr ? list.first : work->previous_->next_) = work->next_;
    (work->next_ == nullptr ? list.last : work->next_->previous_) = work->previous_;
    --queued_;
  }

  // True when it has changed its lane.
  bool advance(DiskWork* work, DiskLane lane) {
    if (work->lane_ == lane || lane == DiskLane::work) return false;
    remove(work);
    work->lane_ = lane;
    push(work);
    return true;
  }

  // Something was pushed. A thread that was woken counts as asleep until it runs, and so does what it will take as
  // queued: hence the comparison.
  bool wake() {
    if (sleeping_ != 0) any_came_.notify_one();
    const bool crowded = queued_ > sleeping_;
    if (crowded && lanes_[static_cast<size_t>(DiskLane::end)].first != nullptr) end_came_.notify_one();
    return crowded;
  }

  DiskWork* take(bool ends_only) {
    std::lock_guard<Lock> guard(lock_);
    for (;;) {
      List* list = &lanes_[static_cast<size_t>(DiskLane::end)];
      if (list->first == nullptr && !ends_only) list = &lanes_[static_cast<size_t>(DiskLane::work)];
      if (DiskWork* work = list->first) {
        remove(work);
        work->state_ = DiskWork::State::running;
        ++running_;
        return work;
      }
      if (stopped_) return nullptr;
      if (ends_only) {
        end_came_.wait(lock_);
      } else {
        ++sleeping_;
        any_came_.wait(lock_);
        --sleeping_;
      }
    }
  }

  // True when nothing more is to be done.
  bool finish(DiskWork* work, bool ends_only) {
    std::lock_guard<Lock> guard(lock_);
    --running_;
    if (work->state_ == DiskWork::State::again) {
      push(work);
      // This thread is free for it, unless it takes ends only.
      if (ends_only) (void)wake();
      return false;
    }
    work->state_ = DiskWork::State::idle;
    work->lane_ = DiskLane::work;
    return true;
  }

  Lock lock_;
  Condition any_came_;
  Condition end_came_;
  List lanes_[2];
  size_t queued_ = 0;
  size_t running_ = 0;
  size_t sleeping_ = 0;  // of the threads that take anything
  bool stopped_ = false;
};

}  // namespace iocp
