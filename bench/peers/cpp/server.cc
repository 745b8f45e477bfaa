#include "peers/cpp/server.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace bench {
namespace {

constexpr int kAccepts = 64;
constexpr ULONG kBatch = 64;
constexpr ULONG kBatchOfMany = 8;  // so that the other threads have something to do as well
constexpr size_t kReceivers = 64;

DWORD error_of(const OVERLAPPED_ENTRY& entry) {
  // Any failure ends the connection; which one it was makes no difference here.
  return static_cast<DWORD>(entry.lpOverlapped->Internal);
}

}  // namespace

uint16_t Server::listen() {
  port_ = CreateIoCompletionPort(INVALID_HANDLE_VALUE, nullptr, 0, options_.threads);
  listener_ = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_OVERLAPPED);
  if (port_ == nullptr || listener_ == INVALID_SOCKET) return 0;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int size = sizeof(address);
  GUID guid = WSAID_ACCEPTEX;
  DWORD bytes = 0;
  // A negative backlog is SOMAXCONN_HINT: listen() would cut a positive one to 200.
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, -511) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      CreateIoCompletionPort(reinterpret_cast<HANDLE>(listener_), port_, 0, 0) == nullptr ||
      WSAIoctl(listener_, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof(guid), &accept_ex_, sizeof(accept_ex_),
               &bytes, nullptr, nullptr) != 0) {
    return 0;
  }
  for (int i = 0; i < kAccepts; ++i) {
    accepts_.push_back(std::make_unique<Accept>());
    post_accept(accepts_.back().get());
  }
  return ntohs(address.sin_port);
}

void Server::post_accept(Accept* accept) {
  accept->socket = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_OVERLAPPED);
  DWORD bytes = 0;
  accept_ex_(listener_, accept->socket, accept->addresses, 0, Accept::kAddress, Accept::kAddress, &bytes,
             accept->prepare());
}

void Server::on_accept(Accept* accept, DWORD error) {
  const SOCKET socket = std::exchange(accept->socket, INVALID_SOCKET);
  post_accept(accept);
  if (error != 0 || !adopt(socket)) {
    closesocket(socket);
    return;
  }
  (new Connection(this, socket))->start();
}

bool Server::adopt(SOCKET socket) {
  const BOOL yes = TRUE;
  const HANDLE handle = reinterpret_cast<HANDLE>(socket);
  return setsockopt(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, reinterpret_cast<const char*>(&listener_),
                    sizeof(listener_)) == 0 &&
         setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&yes), sizeof(yes)) == 0 &&
         CreateIoCompletionPort(handle, port_, 0, 0) != nullptr &&
         SetFileCompletionNotificationModes(handle,
                                            FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE);
}

void Server::add(Connection* connection) {
  std::lock_guard<std::mutex> guard(list_lock_);
  connection->place_ = connections_.size();
  connections_.push_back(connection);
}

void Server::remove(Connection* connection) {
  std::lock_guard<std::mutex> guard(list_lock_);
  Connection* const last = connections_.back();
  connections_[connection->place_] = last;
  last->place_ = connection->place_;
  connections_.pop_back();
}

// Called without a connection's lock, because it takes them all in turn.
void Server::broadcast(const Shared& bytes) {
  std::vector<Connection*> all;
  {
    std::lock_guard<std::mutex> guard(list_lock_);
    all = connections_;
    for (Connection* connection : all) connection->hold();
  }
  if (options_.threads > 1) {
    for (size_t at = 0; at < all.size(); at += kReceivers) {
      post(new Delivery(bytes, all.data() + at, all.data() + (std::min)(at + kReceivers, all.size())));
    }
    return;
  }
  for (Connection* connection : all) {
    connection->send_shared(bytes);
    connection->release();
  }
}

void Server::post(Operation* operation) { PostQueuedCompletionStatus(port_, 0, 0, operation->prepare()); }

void Server::run() {
  for (uint32_t i = 1; i < options_.threads; ++i) std::thread([this] { serve(); }).detach();
  serve();
}

void Server::serve() {
  OVERLAPPED_ENTRY entries[kBatch];
  const ULONG most = options_.threads == 1 ? kBatch : kBatchOfMany;
  for (;;) {
    ULONG count = 0;
    if (!GetQueuedCompletionStatusEx(port_, entries, most, &count, INFINITE, FALSE)) return;
    for (ULONG i = 0; i < count; ++i) dispatch(entries[i]);
  }
}

void Server::dispatch(const OVERLAPPED_ENTRY& entry) {
  Operation* operation = static_cast<Operation*>(entry.lpOverlapped);
  const DWORD error = error_of(entry);
  const DWORD bytes = entry.dwNumberOfBytesTransferred;
  switch (operation->kind) {
    case Operation::Kind::accept:
      return on_accept(static_cast<Accept*>(operation), error);
    case Operation::Kind::read:
      return static_cast<ConnectionOperation*>(operation)->connection->on_read(error, bytes);
    case Operation::Kind::write:
      return static_cast<ConnectionOperation*>(operation)->connection->on_write(error, bytes);
    case Operation::Kind::resume:
      return static_cast<ConnectionOperation*>(operation)->connection->on_resume();
    case Operation::Kind::deliver: {
      const std::unique_ptr<Delivery> delivery(static_cast<Delivery*>(operation));
      for (Connection* connection : delivery->to) {
        connection->send_shared(delivery->bytes);
        connection->release();
      }
      return;
    }
  }
}

}  // namespace bench
