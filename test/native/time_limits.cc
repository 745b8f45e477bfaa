#include "core/time_limits.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "random_numbers.h"

using namespace iocp;

namespace {

// A connection whose one timer does what it is told, on a clock with ticks of a millisecond.
struct Watched {
  explicit Watched(TimeLimits given, uint32_t start = 1000)
      : limits(given), now(start), born(start), watch(start), read(start - 5) {
    look();
  }

  // The first expiry within `ms`, which is passed.
  Expiry wait(uint32_t ms) {
    for (uint32_t i = 0; i < ms; ++i) {
      ++now;
      if (now != due) continue;
      const Expiry expired = look();
      if (expired != Expiry::none) return expired;
    }
    return Expiry::none;
  }
  Expiry look() {
    watch.begin_check();
    last = watch.check(limits, now, now - born, &read, bytes, had_packet);
    due = 0;
    need(last.next);
    if (last.idle_read != 0) ++reads;
    if (last.idle_write != 0) ++writes;
    if (last.idle_both != 0) ++boths;
    if (last.life_over != 0) {
      ++lives;
      limits.life = 0;  // the connection ends
    }
    return last.expired;
  }
  void receive(uint32_t count, bool ended, TimeWatch::Open open) {
    read.store(now);
    bytes += count;
    had_packet = had_packet || ended || open == TimeWatch::Open::streamed;
    if (!watch.decoded(now, ended, open, bytes)) return;
    if (limits.packet != 0 && open == TimeWatch::Open::gathered) need(limits.packet);
    if (limits.min_rate_bytes != 0) need(limits.min_rate_grace + limits.min_rate_per);
  }
  void packet() { receive(10, true, TimeWatch::Open::none); }
  void piece(uint32_t count = 1) { receive(count, false, TimeWatch::Open::gathered); }
  void need(uint32_t delay) {
    if (delay != TimeWatch::kNever && watch.need_check(now, delay)) due = now + (std::max)(delay, 1u);
  }
  void begin_write() {
    watch.write_begins(now);
    if (limits.send_stall != 0) need(limits.send_stall);
  }

  TimeLimits limits;
  uint32_t now;
  uint32_t born;
  TimeWatch watch;
  std::atomic<uint32_t> read;
  uint64_t bytes = 0;
  uint32_t due = 0;
  bool had_packet = false;
  TimeWatch::Check last;
  uint32_t reads = 0, writes = 0, boths = 0, lives = 0;  // events
};

// What a look that finds a limit to be over waits for before it is so.
constexpr uint32_t kSure = TimeWatch::kConfirmMs;

TimeLimits only(uint32_t TimeLimits::* field, uint32_t value) {
  TimeLimits limits;
  limits.*field = value;
  return limits;
}

}  // namespace

TEST_CASE("time_limits: a watch takes 48 bytes") { CHECK(sizeof(TimeWatch) <= 48); }

TEST_CASE("time_limits: the first packet") {
  Watched silent(only(&TimeLimits::first_packet, 100));
  CHECK(silent.wait(99) == Expiry::none);
  CHECK(silent.wait(2 + kSure + 2) == Expiry::first_packet);

  Watched trickling(only(&TimeLimits::first_packet, 100));
  for (int i = 0; i < 9; ++i) {
    CHECK(trickling.wait(10) == Expiry::none);
    trickling.piece();
  }
  CHECK(trickling.wait(11 + kSure + 2) == Expiry::first_packet);

  Watched good(only(&TimeLimits::first_packet, 100));
  good.wait(90);
  good.packet();
  CHECK(good.wait(10'000) == Expiry::none);

  // A large one that is streamed has begun, which is enough.
  Watched streamed(only(&TimeLimits::first_packet, 100));
  streamed.receive(10, false, TimeWatch::Open::streamed);
  CHECK(streamed.wait(10'000) == Expiry::none);
}

TEST_CASE("time_limits: a packet, from its first byte to its last") {
  Watched one(only(&TimeLimits::packet, 100));
  CHECK(one.wait(5000) == Expiry::none);
  one.piece();
  one.wait(60);
  one.piece();
  CHECK(one.wait(39) == Expiry::none);
  CHECK(one.wait(2 + kSure + 2) == Expiry::packet);

  // The next one has its own time.
  Watched next(only(&TimeLimits::packet, 100));
  for (int i = 0; i < 20; ++i) {
    next.receive(10, i != 0, TimeWatch::Open::gathered);
    CHECK(next.wait(90) == Expiry::none);
  }
  CHECK(next.wait(20 + kSure + 2) == Expiry::packet);

  Watched streamed(only(&TimeLimits::packet, 100));
  streamed.receive(10, false, TimeWatch::Open::streamed);
  CHECK(streamed.wait(10'000) == Expiry::none);
}

TEST_CASE("time_limits: idle is silence of the peer, whatever this side sends") {
  Watched one(only(&TimeLimits::idle_read, 100));
  for (int i = 0; i < 10; ++i) {
    one.wait(50);
    one.piece();
  }
  for (int i = 0; i < 9; ++i) {
    CHECK(one.wait(10) == Expiry::none);
    one.begin_write();
    one.watch.write_ended(one.now, true);
  }
  CHECK(one.wait(11 + kSure + 2) == Expiry::idle_read);

  Watched both(only(&TimeLimits::idle_both, 100));
  for (int i = 0; i < 20; ++i) {
    CHECK(both.wait(90) == Expiry::none);
    if (i % 2 == 0) {
      both.piece();
    } else {
      both.begin_write();
      both.watch.write_ended(both.now, true);
    }
  }
  CHECK(both.wait(101 + kSure + 2) == Expiry::idle_both);

  Watched write(only(&TimeLimits::idle_write, 100));
  write.wait(50);
  write.piece();
  CHECK(write.wait(51 + kSure + 2) == Expiry::idle_write);
}

TEST_CASE("time_limits: an idle event comes once for each time that the limit has passed") {
  TimeLimits limits = only(&TimeLimits::idle_read, 100);
  limits.idle_closes = false;
  Watched one(limits);
  for (uint32_t i = 1; i <= 5; ++i) {
    CHECK(one.wait(100) == Expiry::none);
    CHECK(one.reads == i);
    CHECK(one.last.idle_read == i);
  }
  one.packet();
  one.wait(99);
  CHECK(one.reads == 5);
  one.wait(2);
  CHECK(one.reads == 6);
  CHECK(one.last.idle_read == 1);
}

TEST_CASE("time_limits: events of one kind do not hide those of another") {
  TimeLimits limits;
  limits.idle_read = limits.idle_both = 1000;
  limits.idle_write = 3000;
  limits.idle_closes = false;
  Watched one(limits);
  one.wait(60'000);
  CHECK(one.reads == 60);
  CHECK(one.boths == 60);
  CHECK(one.writes == 20);
}

TEST_CASE("time_limits: a life that is over is told once, and the other limits go on") {
  TimeLimits limits;
  limits.life = 100;
  limits.send_stall = 500;
  Watched one(limits);
  one.wait(300);
  CHECK(one.lives == 1);
  one.begin_write();
  CHECK(one.wait(500 + kSure + 2) == Expiry::send_stall);
  CHECK(one.lives == 1);
}

TEST_CASE("time_limits: a peer that has ended its side is not silent, but has to complete what it has begun") {
  TimeLimits limits;
  limits.idle_read = limits.first_packet = 100;
  Watched one(limits);
  one.watch.peer_ended();
  CHECK(one.wait(100 + kSure + 2) == Expiry::first_packet);
  Watched two(limits);
  two.packet();
  two.watch.peer_ended();
  CHECK(two.wait(5000) == Expiry::none);
  Watched three(only(&TimeLimits::idle_both, 100));
  three.watch.peer_ended();
  three.wait(50);
  three.read.store(three.now);
  CHECK(three.wait(60 + kSure + 2) == Expiry::idle_both);
}

TEST_CASE("time_limits: who is late at the first look only is not cut") {
  Watched one(only(&TimeLimits::idle_read, 100));
  CHECK(one.wait(101) == Expiry::none);
  one.packet();
  CHECK(one.wait(99) == Expiry::none);
  Watched stall(only(&TimeLimits::send_stall, 100));
  stall.begin_write();
  CHECK(stall.wait(110) == Expiry::none);
  stall.watch.write_ended(stall.now, true);
  CHECK(stall.wait(1000) == Expiry::none);
}

TEST_CASE("time_limits: packets that follow one another have a time each, whatever becomes of them") {
  Watched one(only(&TimeLimits::packet, 100));
  one.piece();
  for (int i = 0; i < 50; ++i) {
    CHECK(one.wait(60) == Expiry::none);
    one.receive(1000, true, TimeWatch::Open::gathered);
  }
  // From a stream to a packet.
  Watched two(only(&TimeLimits::packet, 100));
  two.receive(10, false, TimeWatch::Open::streamed);
  two.wait(5000);
  two.receive(10, true, TimeWatch::Open::gathered);
  CHECK(two.wait(90) == Expiry::none);
}

TEST_CASE("time_limits: a write that the peer does not take") {
  Watched one(only(&TimeLimits::send_stall, 100));
  CHECK(one.wait(5000) == Expiry::none);
  for (int i = 0; i < 10; ++i) {
    one.begin_write();
    CHECK(one.wait(90) == Expiry::none);
    one.watch.write_ended(one.now, true);
  }
  CHECK(one.wait(1000) == Expiry::none);
  one.begin_write();
  CHECK(one.wait(99) == Expiry::none);
  CHECK(one.wait(2 + kSure + 2) == Expiry::send_stall);
}

TEST_CASE("time_limits: a peer within a packet has to send so much in each period") {
  TimeLimits limits;
  limits.min_rate_bytes = 10;
  limits.min_rate_per = 100;
  limits.min_rate_grace = 500;
  Watched one(limits);
  CHECK(one.wait(5000) == Expiry::none);
  one.piece();
  CHECK(one.wait(590) == Expiry::none);
  one.piece(10);
  CHECK(one.wait(60) == Expiry::none);
  for (int i = 0; i < 10; ++i) {
    one.piece(10);
    CHECK(one.wait(100) == Expiry::none);
  }
  one.piece(9);
  CHECK(one.wait(200 + kSure + 2) == Expiry::min_rate);
  // Between two packets it may be silent.
  Watched two(limits);
  two.piece();
  two.packet();
  CHECK(two.wait(10'000) == Expiry::none);
  // A packet that is streamed has it too.
  Watched three(limits);
  three.receive(5, false, TimeWatch::Open::streamed);
  CHECK(three.wait(601 + kSure + 2) == Expiry::min_rate);
}

TEST_CASE("time_limits: no time counts while this side does not read") {
  TimeLimits limits;
  limits.first_packet = limits.packet = limits.idle_read = limits.idle_both = 100;
  limits.min_rate_bytes = limits.min_rate_per = 100;
  Watched one(limits);
  one.piece();
  one.wait(90);
  one.watch.set_reading(false, one.now, one.had_packet);
  CHECK(one.wait(100'000) == Expiry::none);
  CHECK(one.watch.set_reading(true, one.now, one.had_packet));
  CHECK(one.look() == Expiry::none);
  // What was left is left. The silence begins anew.
  CHECK(one.wait(8) == Expiry::none);
  CHECK(one.wait(4 + kSure) != Expiry::none);

  Watched idle(only(&TimeLimits::idle_read, 100));
  idle.watch.set_reading(false, idle.now, true);
  idle.wait(5000);
  idle.watch.set_reading(true, idle.now, true);
  CHECK(idle.look() == Expiry::none);
  CHECK(idle.wait(98) == Expiry::none);
  CHECK(idle.wait(4 + kSure + 2) == Expiry::idle_read);
  // Only the peer is not judged.
  Watched life(only(&TimeLimits::life, 100));
  life.packet();
  life.watch.set_reading(false, life.now, true);
  life.wait(101);
  CHECK(life.lives == 1);
}

TEST_CASE("time_limits: to stop and go on at once gives no new time") {
  for (const uint32_t tick : {0u, 1u}) {
    for (const auto field : {&TimeLimits::packet, &TimeLimits::first_packet}) {
      Watched one(only(field, 100), 1000 + tick);
      one.piece();
      CHECK(one.wait(90) == Expiry::none);
      one.watch.set_reading(false, one.now, false);
      CHECK(one.watch.set_reading(true, one.now, false));
      CHECK(one.wait(10 + kSure + 4) != Expiry::none);
    }
  }
}

TEST_CASE("time_limits: a packet that began while this side did not read has its grace when it goes on") {
  TimeLimits limits = only(&TimeLimits::min_rate_bytes, 240);
  limits.min_rate_per = 1000;
  limits.min_rate_grace = 5000;
  Watched one(limits);
  one.watch.set_reading(false, one.now, true);
  one.now += 4000;
  one.piece();
  CHECK(one.watch.set_reading(true, one.now, true));
  one.need(50);
  CHECK(one.wait(5990) == Expiry::none);
  CHECK(one.wait(10 + kSure + 4) == Expiry::min_rate);
}

TEST_CASE("time_limits: a life goes on while this side does not read") {
  Watched one(only(&TimeLimits::life, 100));
  for (int i = 0; i < 10; ++i) {
    one.watch.set_reading(false, one.now, false);
    one.wait(9);
    one.watch.set_reading(true, one.now, false);
    one.wait(1);
  }
  one.wait(1);
  CHECK(one.lives == 1);
}

TEST_CASE("time_limits: a peer that always has something unread is late all the same, but not by this side's fault") {
  Watched one(only(&TimeLimits::packet, 100));
  one.piece();
  CHECK(one.wait(200) == Expiry::packet);
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(one.watch.is_late_anyway(false));
  int grants = 0;
  while (!one.watch.is_late_anyway(true)) ++grants;
  CHECK(grants == TimeWatch::kMostGrants);
  // Another packet has its own.
  one.packet();
  one.look();
  CHECK_FALSE(one.watch.is_late_anyway(true));
}

TEST_CASE("time_limits: times that are ahead of the clock are put back with it") {
  Watched one(only(&TimeLimits::idle_read, 100));
  one.now += 1'000'000;
  one.packet();
  one.now -= 1'000'000;
  CHECK(one.look() == Expiry::none);
  CHECK(one.wait(98) == Expiry::none);
  CHECK(one.wait(4 + kSure + 2) == Expiry::idle_read);
  Watched stall(only(&TimeLimits::send_stall, 100));
  stall.now += 1'000'000;
  stall.watch.write_begins(stall.now);
  stall.now -= 1'000'000;
  CHECK(stall.look() == Expiry::none);
  CHECK(stall.wait(103 + kSure + 2) == Expiry::send_stall);
}

TEST_CASE("time_limits: the clock wraps round") {
  TimeLimits limits;
  limits.idle_read = 1000;
  limits.packet = 300;
  Watched one(limits, 0xFFFFFF00u);
  for (int i = 0; i < 10; ++i) {
    CHECK(one.wait(900) == Expiry::none);
    one.packet();
  }
  one.piece();
  CHECK(one.wait(301 + kSure + 2) == Expiry::packet);
}

// Against a second opinion that looks every millisecond.
TEST_CASE("time_limits: random peers are cut when they have to be, not before and not later") {
  RandomNumbers random(7);
  for (int round = 0; round < 2000; ++round) {
    TimeLimits limits;
    if (random() % 2 != 0) limits.first_packet = 20 + random() % 200;
    if (random() % 2 != 0) limits.packet = 20 + random() % 200;
    if (random() % 2 != 0) limits.idle_read = 20 + random() % 200;
    if (random() % 2 != 0) limits.send_stall = 20 + random() % 200;
    Watched one(limits, random());
    uint32_t opened = one.now, heard = one.now, began = 0, wrote = 0;
    bool had = false, in_packet = false, writing = false;
    for (int step = 0; step < 1000; ++step) {
      const Expiry expired = one.wait(1);
      const bool late = (limits.first_packet != 0 && !had && one.now - opened >= limits.first_packet) ||
                        (limits.packet != 0 && in_packet && one.now - began >= limits.packet) ||
                        (limits.idle_read != 0 && one.now - heard >= limits.idle_read) ||
                        (limits.send_stall != 0 && writing && one.now - wrote >= limits.send_stall);
      if (expired != Expiry::none) {
        // Times are rounded up to odd ones.
        REQUIRE(late);
        break;
      }
      if (late) {
        // Another limit that is over meanwhile is looked at anew.
        REQUIRE(one.wait(4 * (kSure + 3)) != Expiry::none);
        break;
      }
      switch (random() % 40) {
        case 0:
          one.packet();
          had = true;
          in_packet = false;
          heard = one.now;
          break;
        case 1:
          one.piece();
          heard = one.now;
          if (!in_packet) began = one.now | 1;
          in_packet = true;
          break;
        case 2:
          if (!writing) one.begin_write();
          if (!writing) wrote = one.now | 1;
          writing = true;
          break;
        case 3:
          if (writing) one.watch.write_ended(one.now, true);
          writing = false;
          break;
        default:
          break;
      }
    }
  }
}
