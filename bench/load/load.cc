#include "load/load.h"

#include <algorithm>

#include "load/clock.h"

namespace bench {
namespace {

constexpr size_t kReceiveBytes = 256 * 1024;
constexpr uint32_t kGreeting = UINT32_MAX;

}  // namespace

Load::Load(const Options& options)
    : options_(options), content_(options.size), links_(options.connections), buffer_(kReceiveBytes) {
  for (uint32_t i = 0; i < links_.size(); ++i) links_[i].index = i;
}

Load::~Load() {
  for (Link& link : links_) close(link);
}

bool Load::run() {
  const uint64_t limit = now_ns() + to_ns(options_.limit);
  Ready ready_links[Poller::kMost];
  while (!done_) {
    open_more();
    const uint64_t now = now_ns();
    if (now >= limit) return false;
    const uint64_t next = on_turn(now);
    if (done_) break;
    const size_t count = poller_.wait(ready_links, (std::min)(next, limit));
    for (size_t i = 0; i < count && !done_; ++i) {
      ready(links_[ready_links[i].tag], ready_links[i].readable, ready_links[i].writable);
    }
  }
  result_.connections = greeted_;
  return true;
}

void Load::open_more() {
  while (opened_ < wanted_ && opening_ < options_.window) {
    Link& link = links_[opened_++];
    ++opening_;
    link.began_ns = now_ns();
    const Outcome outcome = start_connect(options_.port, &link.socket);
    if (outcome != Outcome::done && outcome != Outcome::would_block) {
      connect_failed(link, outcome);
      continue;
    }
    link.state = Link::State::connecting;
    link.wants_write = true;
    poller_.add(link.socket, link.index, true);
  }
}

void Load::connect_failed(Link& link, Outcome) {
  --opening_;
  ++lost_;
  ++result_.refused;
  close(link);
}

void Load::connected(Link& link) {
  const Outcome outcome = connect_outcome(link.socket);
  if (outcome != Outcome::done) return connect_failed(link, outcome);
  link.state = Link::State::greeting;
  link.expected = {kNumbers, link.index, kGreeting};
  send(link, link.expected);
  flush(link);
}

void Load::send(Link& link, const Message& message) { link.append(content_, message); }

void Load::flush(Link& link) {
  while (link.out_from < link.out.size()) {
    const Transfer transfer =
        bench::send(link.socket, link.out.data() + link.out_from, link.out.size() - link.out_from);
    if (transfer.outcome == Outcome::would_block) break;
    if (transfer.outcome != Outcome::done) return fail(link);
    link.out_from += transfer.bytes;
  }
  const bool wants_write = link.out_from < link.out.size();
  if (wants_write == link.wants_write) return;
  link.wants_write = wants_write;
  poller_.change(link.socket, link.index, wants_write);
}

void Load::ready(Link& link, bool readable, bool writable) {
  if (link.state == Link::State::connecting) {
    if (readable || writable) connected(link);
    return;
  }
  if (writable && link.state != Link::State::closed) flush(link);
  if (readable && link.state != Link::State::closed) read(link);
}

void Load::read(Link& link) {
  const Transfer transfer = receive(link.socket, buffer_.data(), buffer_.size());
  if (transfer.outcome == Outcome::would_block) return;
  if (transfer.outcome != Outcome::done || transfer.bytes == 0) return fail(link);
  if (!consume(link, buffer_.data(), transfer.bytes)) return fail(link);
  flush(link);
}

// False when something else came than what has to come.
bool Load::consume(Link& link, const uint8_t* data, size_t size) {
  while (size != 0) {
    size_t part = 0;
    if (link.header_got < kHeader) {
      part = (std::min)(size, kHeader - link.header_got);
      std::memcpy(link.header + link.header_got, data, part);
      link.header_got += static_cast<uint32_t>(part);
      if (link.header_got == kHeader) {
        uint32_t length = 0;
        for (const uint8_t byte : link.header) length = length << 8 | byte;
        if (length != link.expected.size) return false;
      }
    } else {
      const Message& expected = link.expected;
      part = (std::min)(size, expected.size - link.payload_got);
      if (!content_.matches(data, link.payload_got, part, expected.sender, expected.number)) {
        return false;
      }
      link.payload_got += part;
      if (link.payload_got == expected.size) message_complete(link);
    }
    data += part;
    size -= part;
  }
  return true;
}

void Load::message_complete(Link& link) {
  link.header_got = 0;
  link.payload_got = 0;
  if (link.state == Link::State::open) return on_message(link);
  link.state = Link::State::open;
  --opening_;
  ++greeted_;
  on_greeted(link);
}

// A connection is lost, or its reply was wrong.
void Load::fail(Link& link) {
  if (link.state == Link::State::closed) return;
  if (link.state == Link::State::greeting) {
    --opening_;
    ++lost_;
  }
  ++result_.errors;
  close(link);
}

void Load::close(Link& link) {
  if (link.socket != kNoSocket) {
    if (link.state != Link::State::closed) poller_.remove(link.socket, link.index);
    close_hard(link.socket);
  }
  link.socket = kNoSocket;
  link.state = Link::State::closed;
}

}  // namespace bench
