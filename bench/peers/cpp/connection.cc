#include <utility>

#include "peers/cpp/server.h"

namespace bench {
namespace {

constexpr size_t kReadBuffer = 16 * 1024;
// Replies that the peer does not take: above this nothing more is read.
constexpr size_t kMostWaiting = 4 * 1024 * 1024;
// Reads that succeed at once: after so many it is another connection's turn.
constexpr int kMostInline = 16;

}  // namespace

Connection::Connection(Server* server, SOCKET socket)
    : server_(server),
      socket_(socket),
      in_(kReadBuffer),
      read_operation_(Operation::Kind::read, this),
      write_operation_(Operation::Kind::write, this),
      resume_operation_(Operation::Kind::resume, this) {
  server_->add(this);
}

// With a count of the caller's.
template <class F>
void Connection::locked(F&& f) {
  std::vector<Shared> to_broadcast;
  {
    std::lock_guard<std::mutex> guard(lock_);
    f();
    to_broadcast.swap(to_broadcast_);
  }
  for (const Shared& bytes : to_broadcast) server_->broadcast(bytes);
}

void Connection::start() {
  hold();
  locked([this] { read(); });
  release();
}

// Reads until a read is in the kernel.
void Connection::read() {
  if (reading_) return;
  for (int round = 0; out_.size() <= kMostWaiting; ++round) {
    if (round == kMostInline) {
      reading_ = true;
      hold();
      return server_->post(&resume_operation_);
    }
    WSABUF buffer{static_cast<ULONG>(in_.space_size()), reinterpret_cast<char*>(in_.space())};
    DWORD bytes = 0;
    DWORD flags = 0;
    if (WSARecv(socket_, &buffer, 1, &bytes, &flags, read_operation_.prepare(), nullptr) != 0) {
      if (WSAGetLastError() != WSA_IO_PENDING) return close();
      reading_ = true;
      hold();
      return;
    }
    if (!received(bytes)) return;
  }
}

void Connection::on_read(DWORD error, DWORD bytes) {
  locked([&] {
    reading_ = false;
    if (socket_ == INVALID_SOCKET) return;
    if (error != 0) return close();
    if (received(bytes)) read();
  });
  release();
}

void Connection::on_resume() {
  locked([this] {
    reading_ = false;
    if (socket_ != INVALID_SOCKET) read();
  });
  release();
}

// False when the connection is closed.
bool Connection::received(size_t bytes) {
  const ServerOptions& options = server_->options();
  bool asked = false;
  bool ok = bytes != 0 && in_.take(bytes, options.max_packet, [&](const uint8_t* data, size_t size) {
    if (options.file != nullptr) {
      asked = true;
    } else if (options.broadcast && size >= kBroadcastFrom) {
      std::vector<uint8_t> packet;
      append_packet(&packet, data, size);
      to_broadcast_.push_back(std::make_shared<const std::vector<uint8_t>>(std::move(packet)));
    } else {
      append_packet(&out_, data, size);
    }
  });
  if (ok && asked) ok = transmit_file(socket_, options.file);
  if (!ok) close();
  return ok && write();
}

// Writes until a write is in the kernel or nothing is left. False when the connection is closed.
bool Connection::write() {
  while (socket_ != INVALID_SOCKET && !writing_ && next_to_write()) {
    const std::vector<uint8_t>& bytes = shared_ ? *shared_ : leaving_;
    WSABUF buffer{static_cast<ULONG>(bytes.size() - written_),
                  reinterpret_cast<char*>(const_cast<uint8_t*>(bytes.data() + written_))};
    DWORD sent = 0;
    if (WSASend(socket_, &buffer, 1, &sent, 0, write_operation_.prepare(), nullptr) == 0) {
      written_ += sent;
    } else if (WSAGetLastError() == WSA_IO_PENDING) {
      writing_ = true;
      hold();
    } else {
      close();
    }
  }
  return socket_ != INVALID_SOCKET;
}

// Takes what comes next when the last has been written in full. False when there is nothing.
bool Connection::next_to_write() {
  if (written_ != (shared_ ? shared_->size() : leaving_.size())) return true;
  written_ = 0;
  leaving_.clear();
  shared_.reset();
  if (!out_.empty()) {
    leaving_.swap(out_);
    return true;
  }
  if (shared_queue_.empty()) return false;
  shared_ = std::move(shared_queue_.front());
  shared_queue_.pop_front();
  return true;
}

void Connection::on_write(DWORD error, DWORD bytes) {
  locked([&] {
    writing_ = false;
    if (socket_ == INVALID_SOCKET) return;
    if (error != 0) return close();
    written_ += bytes;
    if (write()) read();
  });
  release();
}

void Connection::send_shared(const Shared& bytes) {
  locked([&] {
    shared_queue_.push_back(bytes);
    write();
  });
}

void Connection::close() {
  if (socket_ == INVALID_SOCKET) return;
  server_->remove(this);
  closesocket(socket_);
  socket_ = INVALID_SOCKET;
  release();
}

void Connection::release() {
  if (count_.fetch_sub(1) == 1) delete this;
}

}  // namespace bench
