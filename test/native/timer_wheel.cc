#include "core/timer_wheel.h"

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <random>
#include <vector>

using namespace iocp;

namespace {

// The number of timers that fire at `now`.
size_t fire(TimerWheel& wheel, uint64_t now) {
  size_t count = 0;
  wheel.advance(now, [&](Timer&) { ++count; });
  return count;
}

}  // namespace

TEST_CASE("timer_wheel: a timer fits into 32 bytes") { CHECK(sizeof(Timer) <= 4 * sizeof(uint64_t)); }

TEST_CASE("timer_wheel: never early, at most a granule late") {
  for (uint64_t start : {0ull, 5ull, 31ull, 32ull, 1000000007ull}) {
    for (uint64_t delay : {0ull, 1ull, 31ull, 32ull, 33ull, 8191ull, 8192ull, 100000ull}) {
      TimerWheel wheel(start, 32);
      Timer timer;
      wheel.arm(timer, start, delay);
      uint64_t now = start;
      while (fire(wheel, now) == 0) ++now;
      CAPTURE(start);
      CAPTURE(delay);
      CHECK(now >= start + delay);
      CHECK(now <= start + delay + 32);
      CHECK_FALSE(timer.armed());
      CHECK(wheel.size() == 0);
    }
  }
}

TEST_CASE("timer_wheel: days ahead, with a clock that jumps") {
  constexpr uint64_t kDay = 24ull * 3600 * 1000;
  TimerWheel wheel(0, 64);
  Timer timer;
  wheel.arm(timer, 0, 30 * kDay);
  for (uint64_t now = 0; now < 30 * kDay; now += kDay / 3) REQUIRE(fire(wheel, now) == 0);
  CHECK(wheel.next_due(30 * kDay - 500) == 500);
  CHECK(fire(wheel, 31 * kDay) == 1);
}

TEST_CASE("timer_wheel: a delay without end does not overflow") {
  TimerWheel wheel(1000);
  Timer timer;
  wheel.arm(timer, 1000, ~0ull);
  CHECK(fire(wheel, 1000000) == 0);
  CHECK(wheel.next_due(1000000) == TimerWheel::kNever - 1);
  wheel.cancel(timer);
  CHECK(wheel.next_due(1000000) == TimerWheel::kNever);
}

TEST_CASE("timer_wheel: cancel is final, twice does no harm, arming again moves it") {
  TimerWheel wheel(0, 16);
  Timer timer;
  wheel.cancel(timer);
  wheel.arm(timer, 0, 100);
  wheel.cancel(timer);
  wheel.cancel(timer);
  CHECK(fire(wheel, 1000) == 0);
  wheel.arm(timer, 1000, 100);
  wheel.arm(timer, 1000, 300);
  CHECK(wheel.size() == 1);
  CHECK(fire(wheel, 1200) == 0);
  CHECK(fire(wheel, 1400) == 1);
}

TEST_CASE("timer_wheel: a thread that sleeps until next_due fires on time and does not spin") {
  TimerWheel wheel(0, 32);
  std::mt19937 random(3);
  std::deque<Timer> timers(50);
  uint64_t now = 0;
  for (Timer& timer : timers) wheel.arm(timer, now, random() % 100000);
  size_t wakes = 0;
  while (wheel.size() != 0) {
    const uint32_t sleep = wheel.next_due(now);
    REQUIRE(sleep != TimerWheel::kNever);
    REQUIRE(sleep > 0);
    now += sleep;
    REQUIRE(fire(wheel, now) > 0);
    ++wakes;
  }
  CHECK(wakes <= 50);
}

TEST_CASE("timer_wheel: cancelled timers cost one wake-up at most, not a busy loop") {
  TimerWheel wheel(0, 32);
  Timer early;
  Timer late;
  wheel.arm(early, 0, 160);
  wheel.cancel(early);
  CHECK(wheel.next_due(0) == TimerWheel::kNever);
  CHECK(fire(wheel, 3200) == 0);
  wheel.arm(late, 3200, 64000);
  uint64_t now = 3200;
  size_t wakes = 0;
  while (wheel.size() != 0) {
    now += wheel.next_due(now);
    fire(wheel, now);
    REQUIRE(++wakes <= 2);
  }
  CHECK(now == 67200);
}

TEST_CASE("timer_wheel: a callback may free its own timer, cancel others and arm again") {
  TimerWheel wheel(0, 16);
  auto own = std::make_unique<Timer>();
  Timer victim;
  Timer again;
  wheel.arm(*own, 0, 10);
  wheel.arm(again, 0, 10);
  wheel.arm(victim, 0, 10);
  std::vector<Timer*> fired;
  wheel.advance(100, [&](Timer& timer) {
    fired.push_back(&timer);
    if (&timer == own.get()) {
      wheel.cancel(victim);
      own.reset();
    } else {
      wheel.arm(timer, 100, 0);  // fires in a later advance, not in this one again
    }
  });
  CHECK(fired.size() == 2);
  CHECK_FALSE(victim.armed());
  CHECK(again.armed());
  CHECK(fire(wheel, 116) == 1);
}

TEST_CASE("timer_wheel: an idle timeout touches the wheel once per period, not per packet") {
  TimerWheel wheel(0, 32);
  Timer timer;
  constexpr uint64_t kLimit = 10000;
  uint64_t last_activity = 0;
  uint64_t closed_at = 0;
  int touched = 1;
  wheel.arm(timer, 0, kLimit);
  for (uint64_t now = 0; now < 200000 && closed_at == 0; now += 10) {
    if (now <= 50000) last_activity = now;
    wheel.advance(now, [&](Timer& due) {
      const uint64_t idle = now - last_activity;
      if (idle >= kLimit) {
        closed_at = now;
      } else {
        wheel.arm(due, now, kLimit - idle);
        ++touched;
      }
    });
  }
  CHECK(closed_at >= 60000);
  CHECK(closed_at <= 60050);
  CHECK(touched <= 10);
}

TEST_CASE("timer_wheel: agrees with a plain list of deadlines under random use") {
  std::mt19937 random(7);
  for (uint32_t granularity : {1u, 16u, 100u}) {
    uint64_t now = 12345;
    TimerWheel wheel(now, granularity);
    std::deque<Timer> timers(200);
    std::vector<uint64_t> deadline(timers.size(), 0);  // 0: not armed
    for (size_t i = 0; i < timers.size(); ++i) timers[i].owner = &deadline[i];
    for (int step = 0; step < 4000; ++step) {
      const size_t i = random() % timers.size();
      switch (random() % 4) {
        case 0:
        case 1: {
          const uint64_t delay = random() % (random() % 8 == 0 ? 2000000 : 3000);
          wheel.arm(timers[i], now, delay);
          deadline[i] = now + delay;
          break;
        }
        case 2:
          wheel.cancel(timers[i]);
          deadline[i] = 0;
          break;
        default: {
          now += random() % (random() % 50 == 0 ? 500000 : 300);
          bool early = false;
          wheel.advance(now, [&](Timer& timer) {
            uint64_t* entry = static_cast<uint64_t*>(timer.owner);
            if (*entry == 0 || *entry > now) early = true;
            *entry = 0;
          });
          REQUIRE_FALSE(early);
          uint64_t next = ~0ull;
          size_t armed = 0;
          for (size_t j = 0; j < timers.size(); ++j) {
            REQUIRE(timers[j].armed() == (deadline[j] != 0));
            if (deadline[j] == 0) continue;
            ++armed;
            // Late by no more than the granule in which `now` lies.
            REQUIRE(deadline[j] + granularity > now);
            if (deadline[j] < next) next = deadline[j];
          }
          REQUIRE(wheel.size() == armed);
          const uint32_t sleep = wheel.next_due(now);
          if (armed == 0) {
            REQUIRE(sleep == TimerWheel::kNever);
          } else {
            REQUIRE(now + sleep <= next + 2 * granularity);
          }
        }
      }
    }
    for (Timer& timer : timers) wheel.cancel(timer);
  }
}
