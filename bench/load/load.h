#pragma once
// What all scenarios have in common: makes connections, sends, and compares what comes back with what has to come.
#include <cstdint>
#include <vector>

#include "load/content.h"
#include "load/histogram.h"
#include "load/link.h"
#include "load/options.h"
#include "load/poller.h"

namespace bench {

struct Result {
  uint64_t messages = 0;
  double seconds = 0;
  uint64_t errors = 0;   // replies that were wrong or missing, connections that were lost
  uint64_t refused = 0;  // connections that were not made
  uint32_t connections = 0;
  Histogram latency;
};

class Load {
 public:
  explicit Load(const Options& options);
  virtual ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  // Runs to the end, or until the limit; then false.
  bool run();
  const Result& result() const { return result_; }

 protected:
  // A connection's first message has come back, which says that the server's program has seen it.
  virtual void on_greeted(Link&) {}
  // The expected message has come. The scenario says in link.expected what comes next.
  virtual void on_message(Link&) {}
  // Called between two looks at the sockets. Returns when it wants to be called again at the latest.
  virtual uint64_t on_turn(uint64_t now) = 0;

  // Makes connections until there are so many.
  void want_connections(uint32_t count) { wanted_ = count; }
  bool all_greeted() const { return greeted_ + lost_ >= wanted_; }
  uint32_t greeted() const { return greeted_; }
  void send(Link& link, const Message& message);
  void flush(Link& link);
  void fail(Link& link);
  void finish() { done_ = true; }

  const Options options_;
  const Content content_;
  std::vector<Link> links_;
  Result result_;

 private:
  void open_more();
  void connected(Link& link);
  void connect_failed(Link& link, Outcome outcome);
  void ready(Link& link, bool readable, bool writable);
  void read(Link& link);
  bool consume(Link& link, const uint8_t* data, size_t size);
  void message_complete(Link& link);
  void close(Link& link);

  Poller poller_;
  std::vector<uint8_t> buffer_;
  uint32_t wanted_ = 0;
  uint32_t opened_ = 0;
  uint32_t opening_ = 0;
  uint32_t greeted_ = 0;
  uint32_t lost_ = 0;
  bool done_ = false;
};

}  // namespace bench
