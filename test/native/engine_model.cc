// The parts of an engine together, on real threads, under the locks of docs/threading.md, for the thread sanitizer.
//
// What is modelled: I/O threads that take completions from a port, in any order; accepts, with the access table under
// its own lock; per connection a lock, a receiving strand with the sequencer, which delivers and adds jobs, and a
// sending strand with the send queue, one write at a time, also short ones; the delivery queue, with parking, and the
// one thread that drains it, answers, bans and changes rules; workers that take jobs and answer; the timer wheel, whose
// due timers take a count under its lock and act without it. What is not: sockets, framing, files, the wake-ups of
// Node.js.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/access/access_table.h"
#include "core/delivery_queue.h"
#include "core/job_queue.h"
#include "core/send_queue.h"
#include "core/sequencer.h"
#include "core/timer_wheel.h"

using namespace iocp;

namespace {

constexpr uint32_t kIoThreads = 4;
constexpr uint32_t kWorkers = 2;
constexpr uint32_t kPeers = 300;
constexpr uint32_t kPackets = 120;  // that a peer sends
constexpr uint32_t kReads = 4;      // pending at a time

uint64_t now_ms() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

uint32_t chance(uint32_t below) {
  thread_local std::minstd_rand random(std::random_device{}());
  return static_cast<uint32_t>(random() % below);
}

// A completed read: these packets of the peer, by their numbers.
struct Read {
  uint32_t first = 0;
  uint32_t count = 0;
};

class Model;

struct Peer : std::enable_shared_from_this<Peer> {
  Peer(Model* of, AccessEntry in) : model(of), access(in), sequencer(kReads), timer(this) {}
  ~Peer();

  Model* const model;
  const AccessEntry access;
  ConnectionId id;
  std::mutex lock;
  // Under the lock.
  bool closing = false;
  bool receiving = false;
  bool run_again = false;
  bool sending = false;
  Sequencer<Read> sequencer;
  SendQueue queue;
  uint32_t next_answer = 0;
  // The receiving strand's.
  uint32_t posted = 0;  // of the peer's packets, in reads
  std::atomic<uint32_t> outstanding{0};
  DeliveryCredit credit;
  std::atomic<bool> parked{false};
  // The sending strand's: one write at a time.
  uint32_t written = 0;
  std::vector<uint8_t> partial;
  Timer timer;  // under the timers' lock
};
using PeerRef = std::shared_ptr<Peer>;

struct Completion {
  enum class Kind { accept, read, write, receive, send, quit } kind = Kind::quit;
  PeerRef peer;
  uint64_t number = 0;
  Read read;
  size_t bytes = 0;
};

class Waker final : public JobWaker {
 public:
  void wake() override {
    std::lock_guard<std::mutex> guard(lock_);
    awake_ = true;
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock<std::mutex> guard(lock_);
    changed_.wait_for(guard, std::chrono::milliseconds(20), [&] { return awake_; });
    awake_ = false;
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool awake_ = false;
};

DeliveryLimits small_limits() {
  DeliveryLimits limits;
  limits.total = 256 * 1024;
  limits.per_connection = 2 * 1024;
  return limits;
}

class Model {
 public:
  Model() : delivery_(small_limits()), jobs_(JobLimits{}), timers_(now_ms(), 1), access_(rules(1000)) {}

  void run() {
    std::vector<std::thread> io;
    std::vector<std::thread> workers;
    for (uint32_t i = 0; i < kPeers; ++i) post({Completion::Kind::accept, nullptr, 0, {}, 0});
    for (uint32_t i = 0; i < kIoThreads; ++i) io.emplace_back([this] { io_thread(); });
    for (uint32_t i = 0; i < kWorkers; ++i) workers.emplace_back([this, i] { worker(i + 1); });
    drain_until_done();
    workers_end_.store(true);
    for (auto& thread : workers) thread.join();
    for (uint32_t i = 0; i < kIoThreads; ++i) post({Completion::Kind::quit, nullptr, 0, {}, 0});
    for (auto& thread : io) thread.join();
    CHECK(wrong_.load() == 0);
    CHECK(accepted_.load() + refused_.load() == kPeers);
    CHECK(accepted_.load() > 0);
    CHECK(ended_.load() == accepted_.load());
    CHECK(peers_.empty());
    CHECK(port_.empty());
    CHECK(timers_.size() == 0);
    CHECK(access_.totals().connections == 0);
    CHECK(delivery_.take() == nullptr);
    const JobQueue::Counts counts = jobs_.counts();
    CHECK(counts.queued == 0);
    CHECK(counts.running == 0);
    CHECK(jobs_done_.load() == jobs_added_.load());
    CHECK(delivered_ > 0);
  }

  void peer_ended(Peer* peer) {
    {
      std::lock_guard<std::mutex> guard(timers_lock_);
      timers_.cancel(peer->timer);
    }
    {
      std::lock_guard<std::mutex> guard(access_lock_);
      access_.leave(peer->access);
    }
    ended_.fetch_add(1);
  }

 private:
  static std::shared_ptr<const AccessRules> rules(uint32_t most) {
    AccessRules rules;
    rules.max_per_address = most;
    return std::make_shared<const AccessRules>(std::move(rules));
  }

  // -- the port ---------------------------------------------------------------------------------
  void post(Completion completion) {
    std::lock_guard<std::mutex> guard(port_lock_);
    // Completions come in any order; the ends of the threads last.
    const bool in_front = completion.kind != Completion::Kind::quit && chance(3) == 0;
    in_front ? port_.push_front(std::move(completion)) : port_.push_back(std::move(completion));
    port_changed_.notify_one();
  }

  void io_thread() {
    for (;;) {
      Completion completion;
      bool any = false;
      {
        std::unique_lock<std::mutex> guard(port_lock_);
        port_changed_.wait_for(guard, std::chrono::milliseconds(1), [&] { return !port_.empty(); });
        any = !port_.empty();
        if (any) {
          completion = std::move(port_.front());
          port_.pop_front();
        }
      }
      if (any) {
        if (completion.kind == Completion::Kind::quit) return;
        handle(completion);
      }
      completion.peer = nullptr;
      fire_timers();
      wake_if_needed();
    }
  }

  void handle(Completion& completion) {
    Peer* const peer = completion.peer.get();
    switch (completion.kind) {
      case Completion::Kind::accept:
        return accept();
      case Completion::Kind::read: {
        {
          std::lock_guard<std::mutex> guard(peer->lock);
          if (!peer->sequencer.store(completion.number, std::move(completion.read))) wrong_.fetch_add(1);
          if (peer->receiving) return;
          peer->receiving = true;
        }
        return receive_strand(completion.peer);
      }
      case Completion::Kind::receive: {
        {
          std::lock_guard<std::mutex> guard(peer->lock);
          peer->run_again = peer->receiving;
          if (peer->receiving) return;
          peer->receiving = true;
        }
        return receive_strand(completion.peer);
      }
      case Completion::Kind::write: {
        {
          std::lock_guard<std::mutex> guard(peer->lock);
          SendQueue::Finished finished;
          peer->queue.complete(completion.bytes, &finished);
        }
        return send_strand(completion.peer);
      }
      case Completion::Kind::send: {
        {
          std::lock_guard<std::mutex> guard(peer->lock);
          if (peer->sending) return;
          peer->sending = true;
        }
        return send_strand(completion.peer);
      }
      case Completion::Kind::quit:
        return;
    }
  }

  void accept() {
    AccessEntry entry;
    Refusal refusal = Refusal::none;
    {
      std::lock_guard<std::mutex> guard(access_lock_);
      refusal = access_.enter(IpAddress::v4(0x0A000000u + chance(8)), now_ms(), true, &entry);
    }
    if (refusal != Refusal::none) {
      refused_.fetch_add(1);
      return;
    }
    auto peer = std::make_shared<Peer>(this, entry);
    {
      std::lock_guard<std::mutex> guard(map_lock_);
      peer->id = {next_slot_, 1};
      peers_[next_slot_++] = peer;
    }
    accepted_.fetch_add(1);
    delivery_.append(record_of(RecordKind::connection, peer->id), nullptr, 0, nullptr);
    arm(*peer, 5 + chance(60));
    post({Completion::Kind::receive, peer, 0, {}, 0});
  }

  // -- receiving --------------------------------------------------------------------------------
  void receive_strand(const PeerRef& peer) {
    for (;;) {
      Read read;
      bool found = false;
      bool parked = peer->parked.exchange(true);
      if (!parked) {
        parked = delivery_.park_if_full(peer->id, &peer->credit);
        if (!parked) peer->parked.store(false);
      }
      {
        std::lock_guard<std::mutex> guard(peer->lock);
        if (!peer->closing && !parked) found = peer->sequencer.take(&read);
        const bool may_post = !peer->closing && !parked && peer->outstanding.load() < kReads && peer->posted < kPackets;
        if (!found && !may_post) {
          if (peer->run_again && !peer->closing) {
            peer->run_again = false;
            continue;
          }
          peer->receiving = false;
          return;
        }
      }
      if (found) {
        peer->outstanding.fetch_sub(1);
        deliver(peer, read);
      } else {
        post_read(peer);
      }
    }
  }

  // Numbered and posted in one step; it may complete before this returns.
  void post_read(const PeerRef& peer) {
    Completion completion;
    completion.kind = Completion::Kind::read;
    completion.peer = peer;
    completion.read.first = peer->posted;
    completion.read.count = (std::min)(1 + chance(6), kPackets - peer->posted);
    peer->posted += completion.read.count;
    peer->outstanding.fetch_add(1);
    {
      std::lock_guard<std::mutex> guard(peer->lock);
      completion.number = peer->sequencer.next_number();
    }
    post(std::move(completion));
  }

  void deliver(const PeerRef& peer, const Read& read) {
    for (uint32_t number = read.first; number < read.first + read.count; ++number) {
      if (number % 10 == 9) add_job(peer->id, number);
      uint8_t bytes[64] = {};
      std::memcpy(bytes, &number, sizeof(number));
      delivery_.append(record_of(RecordKind::packet, peer->id), bytes, sizeof(bytes), &peer->credit);
    }
  }

  // -- sending ----------------------------------------------------------------------------------
  // By the draining thread, workers and timers.
  void send(const PeerRef& peer) {
    bool schedule = false;
    {
      std::lock_guard<std::mutex> guard(peer->lock);
      if (peer->closing) return;
      const uint32_t number = peer->next_answer++;
      peer->queue.push_copy({nullptr, 0}, {reinterpret_cast<const uint8_t*>(&number), sizeof(number)}, {nullptr, 0}, 0);
      schedule = !peer->sending;
    }
    if (schedule) post({Completion::Kind::send, peer, 0, {}, 0});
  }

  void send_strand(const PeerRef& peer) {
    ByteSpan spans[8];
    size_t count = 0;
    {
      std::lock_guard<std::mutex> guard(peer->lock);
      if (!peer->closing) count = peer->queue.gather(spans, 8, 64);
      if (count == 0) {
        peer->sending = false;
        return;
      }
    }
    // The system takes what it likes of it, one byte at least, and the packet tells how much.
    size_t size = 0;
    for (size_t i = 0; i < count; ++i) size += spans[i].size;
    const size_t taken = 1 + chance(static_cast<uint32_t>(size));
    size_t left = taken;
    for (size_t i = 0; i < count && left != 0; ++i) {
      const size_t some = (std::min)(left, spans[i].size);
      peer->partial.insert(peer->partial.end(), spans[i].data, spans[i].data + some);
      left -= some;
    }
    while (peer->partial.size() >= sizeof(uint32_t)) {
      uint32_t number = 0;
      std::memcpy(&number, peer->partial.data(), sizeof(number));
      if (number != peer->written++) wrong_.fetch_add(1);
      peer->partial.erase(peer->partial.begin(), peer->partial.begin() + sizeof(number));
    }
    post({Completion::Kind::write, peer, 0, {}, taken});
  }

  void close(const PeerRef& peer) {
    {
      std::lock_guard<std::mutex> guard(peer->lock);
      if (peer->closing) return;
      peer->closing = true;
    }
    std::lock_guard<std::mutex> guard(map_lock_);
    peers_.erase(peer->id.slot);  // not the last count: the caller has one
  }

  PeerRef find(ConnectionId id) {
    std::lock_guard<std::mutex> guard(map_lock_);
    const auto found = peers_.find(id.slot);
    return found == peers_.end() ? nullptr : found->second;
  }

  // -- timers -----------------------------------------------------------------------------------
  void arm(Peer& peer, uint32_t delay_ms) {
    std::lock_guard<std::mutex> guard(timers_lock_);
    timers_.arm(peer.timer, now_ms(), delay_ms);
  }

  void fire_timers() {
    std::vector<PeerRef> due;
    {
      std::unique_lock<std::mutex> guard(timers_lock_, std::try_to_lock);
      if (!guard.owns_lock()) return;
      timers_.advance(now_ms(), [&](Timer& timer) {
        if (PeerRef peer = static_cast<Peer*>(timer.owner)->weak_from_this().lock()) due.push_back(std::move(peer));
      });
    }
    for (PeerRef& peer : due) {
      if (chance(4) == 0) {
        close(peer);
      } else {
        send(peer);
        arm(*peer, 1 + chance(20));
      }
      peer = nullptr;  // may be the last count: without any lock
    }
  }

  // -- the draining thread ----------------------------------------------------------------------
  void wake_if_needed() {
    delivery_.publish_gathered();
    if (delivery_.needs_wake()) drainer_.wake();
  }

  void drain_until_done() {
    std::unordered_map<uint32_t, uint32_t> due;
    for (;;) {
      drainer_.wait();
      do {
        while (auto chunk = delivery_.take()) {
          for (uint32_t i = 0; i < chunk->count(); ++i) drain(*chunk, i, &due);
          const size_t cost = chunk->cost();
          if (delivery_.finish(std::move(chunk), cost)) resume();
        }
      } while (delivery_.end_drain());
      change_access();
      const bool all_came = accepted_.load() + refused_.load() == kPeers;
      if (all_came && ended_.load() == accepted_.load()) {
        std::lock_guard<std::mutex> guard(jobs_lock_);
        if (jobs_.idle()) return;
      }
    }
  }

  void drain(const DeliveryChunk& chunk, uint32_t index, std::unordered_map<uint32_t, uint32_t>* due) {
    const Record& record = chunk.records()[index];
    if (record.kind != static_cast<uint32_t>(RecordKind::packet)) return;
    uint32_t number = 0;
    std::memcpy(&number, chunk.payload() + record.a, sizeof(number));
    if (number != (*due)[record.slot]++) wrong_.fetch_add(1);
    ++delivered_;
    const PeerRef peer = find({record.slot, record.generation});
    if (peer == nullptr) return;
    send(peer);
    // The last one, or earlier by chance.
    if (number + 1 == kPackets || chance(400) == 0) close(peer);
  }

  void resume() {
    std::vector<ConnectionId> ids;
    delivery_.take_resumable(64, &ids);
    for (const ConnectionId id : ids) {
      const PeerRef peer = find(id);
      if (peer == nullptr) continue;
      peer->parked.store(false);
      post({Completion::Kind::receive, peer, 0, {}, 0});
    }
  }

  void change_access() {
    std::lock_guard<std::mutex> guard(access_lock_);
    if (chance(4) == 0) access_.update(rules(1 + chance(100)));
    if (chance(4) == 0) access_.bans().ban(IpPrefix::of(IpAddress::v4(0x0A000000u + chance(8))), now_ms(), 1, 0);
    access_.sweep(now_ms());
  }

  // -- jobs -------------------------------------------------------------------------------------
  void add_job(ConnectionId id, uint32_t number) {
    Job job;
    job.connection = id;
    job.bytes.data.reset(new uint8_t[sizeof(number)]);
    job.bytes.size = sizeof(number);
    std::memcpy(job.bytes.data.get(), &number, sizeof(number));
    WakeList wake;
    {
      std::lock_guard<std::mutex> guard(jobs_lock_);
      JobId added;
      if (jobs_.add(std::move(job), true, &added, &wake) == JobQueue::AddResult::queued) jobs_added_.fetch_add(1);
    }
    for (const auto& waker : wake) waker->wake();
  }

  void worker(uint32_t number) {
    WorkerSlot slot;
    slot.number = number;
    auto waker = std::make_shared<Waker>();
    slot.waker = waker;
    {
      std::lock_guard<std::mutex> guard(jobs_lock_);
      jobs_.attach(&slot);
    }
    while (!workers_end_.load()) {
      std::vector<JobQueue::Taken> taken;
      WakeList wake;
      {
        std::lock_guard<std::mutex> guard(jobs_lock_);
        jobs_.take(&slot, 1, &taken, &wake);
      }
      for (const auto& other : wake) other->wake();
      if (taken.empty()) {
        waker->wait();
        std::lock_guard<std::mutex> guard(jobs_lock_);
        slot.awake = true;  // by its own time limit too, which the engine's workers do not have
        continue;
      }
      for (const JobQueue::Taken& job : taken) work(&slot, job);
    }
    std::vector<JobQueue::Settled> lost;
    WakeList wake;
    std::lock_guard<std::mutex> guard(jobs_lock_);
    jobs_.detach(&slot, {}, &lost, &wake);
    if (!lost.empty()) wrong_.fetch_add(1);
  }

  void work(WorkerSlot* slot, const JobQueue::Taken& job) {
    uint32_t number = 0;
    std::memcpy(&number, job.data, sizeof(number));
    if (number % 10 != 9) wrong_.fetch_add(1);
    if (const PeerRef peer = find(job.connection)) send(peer);
    WakeList wake;
    {
      std::lock_guard<std::mutex> guard(jobs_lock_);
      JobQueue::Settled settled;
      if (!jobs_.complete(slot, job.id.slot, &settled, &wake)) wrong_.fetch_add(1);
      jobs_done_.fetch_add(1);
    }
    for (const auto& other : wake) other->wake();
  }

  std::mutex port_lock_;
  std::condition_variable port_changed_;
  std::deque<Completion> port_;
  std::mutex map_lock_;
  std::unordered_map<uint32_t, PeerRef> peers_;
  uint32_t next_slot_ = 0;
  DeliveryQueue<std::mutex> delivery_;
  Waker drainer_;
  uint64_t delivered_ = 0;
  std::mutex jobs_lock_;
  JobQueue jobs_;
  std::mutex timers_lock_;
  TimerWheel timers_;
  std::mutex access_lock_;
  AccessTable access_;
  std::atomic<uint32_t> accepted_{0};
  std::atomic<uint32_t> refused_{0};
  std::atomic<uint32_t> ended_{0};
  std::atomic<uint32_t> wrong_{0};
  std::atomic<uint32_t> jobs_added_{0};
  std::atomic<uint32_t> jobs_done_{0};
  std::atomic<bool> workers_end_{false};
};

Peer::~Peer() { model->peer_ended(this); }

}  // namespace

TEST_CASE("engine model: sequencer, queues, jobs, access and timers on real threads") {
  const auto begun = std::chrono::steady_clock::now();
  for (int round = 0; round < 5; ++round) {
    Model model;
    model.run();
    // Bounded, also where the sanitizer makes everything slow.
    if (std::chrono::steady_clock::now() - begun > std::chrono::seconds(4)) break;
  }
}
