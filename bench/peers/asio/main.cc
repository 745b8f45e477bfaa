// The same echo on Asio: one thread, one buffer per connection, everything that came in one read answered
// by one write.
#include <array>
#include <deque>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include <asio.hpp>

#include "peers/native/control.h"
#include "peers/native/options.h"
#include "peers/native/packets.h"

namespace bench {
namespace {

using asio::ip::tcp;
using Shared = std::shared_ptr<const std::vector<uint8_t>>;

constexpr size_t kReadBuffer = 16 * 1024;
constexpr size_t kMostWaiting = 4 * 1024 * 1024;
constexpr int kAccepts = 64;

class Connection;

struct Context {
  ServerOptions options;
  std::unordered_set<Connection*> connections;
  void broadcast(const uint8_t* data, size_t size);
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Context* context, tcp::socket socket) : context_(context), socket_(std::move(socket)), in_(kReadBuffer) {
    context_->connections.insert(this);
  }
  ~Connection() { context_->connections.erase(this); }

  void start() {
    std::error_code ignored;
    socket_.set_option(tcp::no_delay(true), ignored);
    read();
  }

  void send_shared(const Shared& bytes) {
    shared_queue_.push_back(bytes);
    write();
  }

 private:
  void read() {
    if (reading_ || closed_ || out_.size() > kMostWaiting) return;
    reading_ = true;
    socket_.async_read_some(asio::buffer(in_.space(), in_.space_size()),
                            [self = shared_from_this()](std::error_code error, size_t bytes) {
                              self->reading_ = false;
                              if (error) return self->close();
                              self->received(bytes);
                            });
  }

  void received(size_t bytes) {
    const ServerOptions& options = context_->options;
    const bool ok = in_.take(bytes, options.max_packet, [&](const uint8_t* data, size_t size) {
      if (options.broadcast && size >= kBroadcastFrom) {
        context_->broadcast(data, size);
      } else {
        append_packet(&out_, data, size);
      }
    });
    if (!ok) return close();
    write();
    read();
  }

  void write() {
    if (writing_ || closed_) return;
    if (!out_.empty()) {
      leaving_.clear();
      leaving_.swap(out_);
    } else if (!shared_queue_.empty()) {
      shared_ = std::move(shared_queue_.front());
      shared_queue_.pop_front();
    } else {
      return;
    }
    writing_ = true;
    asio::async_write(socket_, asio::buffer(shared_ ? *shared_ : leaving_),
                      [self = shared_from_this()](std::error_code error, size_t) {
                        self->writing_ = false;
                        self->shared_.reset();
                        if (error) return self->close();
                        self->write();
                        self->read();
                      });
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    std::error_code ignored;
    socket_.close(ignored);
  }

  Context* const context_;
  tcp::socket socket_;
  PacketBuffer in_;
  std::vector<uint8_t> out_;
  std::vector<uint8_t> leaving_;
  Shared shared_;
  std::deque<Shared> shared_queue_;
  bool reading_ = false;
  bool writing_ = false;
  bool closed_ = false;
};

void Context::broadcast(const uint8_t* data, size_t size) {
  std::vector<uint8_t> packet;
  append_packet(&packet, data, size);
  const auto shared = std::make_shared<const std::vector<uint8_t>>(std::move(packet));
  for (Connection* connection : connections) connection->send_shared(shared);
}

void accept(Context* context, tcp::acceptor* acceptor) {
  acceptor->async_accept([=](std::error_code error, tcp::socket socket) {
    if (!error) std::make_shared<Connection>(context, std::move(socket))->start();
    accept(context, acceptor);
  });
}

}  // namespace
}  // namespace bench

int main(int count, char** words) {
  asio::io_context io(1);
  bench::Context context{bench::read_options(count, words), {}};
  asio::ip::tcp::acceptor acceptor(io);
  acceptor.open(asio::ip::tcp::v4());
  acceptor.bind({asio::ip::address_v4::loopback(), 0});
  acceptor.listen(511);
  for (int i = 0; i < bench::kAccepts; ++i) bench::accept(&context, &acceptor);
  bench::start_control(acceptor.local_endpoint().port());
  io.run();
}
