#pragma once
#include <cstdint>
#include <utility>

#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {

// A socket that threads call without the lock of its owner.
//
// Who is about to call it enters, and leaves behind the call. Once the socket is closing nobody enters any more, and it
// is ended when the last one has left. So no call can meet a handle value that the system has given to another socket
// meanwhile.
//
// Everything but get() and handle() happens under the lock of the owner, or before others know of it.
class GuardedSocket final {
 public:
  GuardedSocket() = default;
  explicit GuardedSocket(UniqueSocket socket) : socket_(std::move(socket)) {}

  void open(UniqueSocket socket) { socket_ = std::move(socket); }
  bool is_closing() const { return closing_; }
  // False when it is closing.
  bool enter() {
    if (!closing_) ++users_;
    return !closing_;
  }
  // True when the caller has to end it.
  bool leave() { return --users_ == 0 && closing_; }
  // The same. Once.
  bool close() {
    closing_ = true;
    return users_ == 0;
  }
  // By whoever has to end it, or when nothing calls it any more.
  UniqueSocket take() { return std::move(socket_); }

  // By who has entered, or under the lock.
  SOCKET get() const { return socket_.get(); }
  HANDLE handle() const { return socket_.handle(); }

 private:
  UniqueSocket socket_;
  uint32_t users_ = 0;
  bool closing_ = false;
};

}  // namespace iocp
