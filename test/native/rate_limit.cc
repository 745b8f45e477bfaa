#include "core/rate_limit.h"

#include <doctest/doctest.h>

#include "random_numbers.h"

using namespace iocp;

TEST_CASE("rate_limit: a burst, then the rate") {
  const RateLimit limit{10, 1000, 25};
  TokenBucket bucket(limit, 5000);
  int passed = 0;
  for (; bucket.has(limit, 1); ++passed) bucket.take(limit, 1);
  CHECK(passed == 25);
  CHECK(bucket.wait_ms(limit, 1) == 100);
  bucket.refill(limit, 5099);
  CHECK_FALSE(bucket.has(limit, 1));
  bucket.refill(limit, 5100);
  CHECK(bucket.has(limit, 1));
  // However long it is, no more than a burst.
  bucket.refill(limit, 5100u + 0x7FFFFFFFu);
  CHECK(bucket.has(limit, 25));
  CHECK_FALSE(bucket.has(limit, 26));
}

TEST_CASE("rate_limit: what may have waited is paid for by all the time since, and only that") {
  const RateLimit limit{10, 1000, 25};
  TokenBucket bucket(limit, 0);
  bucket.refill(limit, 4000, TokenBucket::Fill::save);
  CHECK(bucket.has(limit, 65));
  CHECK_FALSE(bucket.has(limit, 66));
  bucket.take(limit, 30);
  bucket.refill(limit, 9000, TokenBucket::Fill::keep);
  CHECK(bucket.has(limit, 35));
  CHECK_FALSE(bucket.has(limit, 36));
  bucket.refill(limit, 9000);
  CHECK(bucket.has(limit, 25));
  CHECK_FALSE(bucket.has(limit, 26));
  const RateLimit fast{UINT32_MAX, 1, UINT32_MAX};
  TokenBucket full(fast, 0);
  for (uint32_t i = 1; i < 10; ++i) full.refill(fast, i * 0x10000000u, TokenBucket::Fill::save);
  CHECK(full.has(fast, UINT32_MAX));
}

TEST_CASE("rate_limit: what is taken in advance is paid back") {
  const RateLimit limit{1000, 1000, 1000};
  TokenBucket bucket(limit, 0);
  bucket.take(limit, 6000);
  CHECK(bucket.is_overdrawn());
  CHECK(bucket.wait_ms(limit, 0) == 5000);
  bucket.refill(limit, 4999);
  CHECK(bucket.is_overdrawn());
  bucket.refill(limit, 5000);
  CHECK_FALSE(bucket.is_overdrawn());
}

TEST_CASE("rate_limit: nothing overflows, and a clock that is put back gives nothing") {
  const RateLimit limit{UINT32_MAX, TokenBucket::kMostPerMs, UINT32_MAX};
  TokenBucket bucket(limit, 0);
  for (int i = 0; i < 100; ++i) bucket.take(limit, UINT32_MAX);
  CHECK(bucket.is_overdrawn());
  CHECK(bucket.wait_ms(limit, UINT32_MAX) <= 0x7FFFFFFF);
  for (uint32_t i = 1; i <= 100; ++i) bucket.refill(limit, i * 0x10000000u);
  CHECK(bucket.has(limit, UINT32_MAX));
  const RateLimit slow{1, 1000, 1};
  TokenBucket other(slow, 5000);
  other.take(slow, 1);
  other.refill(slow, 4000);
  CHECK_FALSE(other.has(slow, 1));
  // From then on it goes on as ever.
  other.refill(slow, 4999);
  CHECK_FALSE(other.has(slow, 1));
  other.refill(slow, 5000);
  CHECK(other.has(slow, 1));
}

TEST_CASE("rate_limit: over any time no more than the burst and the rate, and not much less") {
  RandomNumbers random(3);
  for (int round = 0; round < 200; ++round) {
    const RateLimit limit{1 + random() % 1000, 1 + random() % 5000, 1 + random() % 2000};
    TokenBucket bucket(limit, 0);
    uint64_t passed = 0;
    uint32_t now = 0;
    for (int step = 0; step < 2000; ++step) {
      now += random() % 20;
      bucket.refill(limit, now);
      while (bucket.has(limit, 1)) {
        bucket.take(limit, 1);
        ++passed;
      }
      const uint64_t most = limit.burst + uint64_t{now} * limit.count / limit.per_ms;
      REQUIRE(passed <= most);
    }
    // The bucket is full at first: what the first step adds runs over.
    const uint64_t in_a_step = 20ull * limit.count / limit.per_ms + 1;
    if (limit.burst > in_a_step)
      REQUIRE(passed + in_a_step >= limit.burst + uint64_t{now} * limit.count / limit.per_ms);
  }
}
