#pragma once
// A plain echo on one completion port: what can be reached when nothing else is to be done. Skip-on-success, sends made
// at once from the thread that read, everything that came in one read answered by one send. One thread, unless
// --threads asks for more.
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "peers/native/options.h"
#include "peers/native/packets.h"
#include "peers/native/windows_headers.h"

namespace bench {

class Server;
class Connection;

struct Operation : OVERLAPPED {
  enum class Kind : uint8_t { accept, read, write, resume, deliver };
  explicit Operation(Kind what) : OVERLAPPED{}, kind(what) {}
  OVERLAPPED* prepare() {
    static_cast<OVERLAPPED&>(*this) = OVERLAPPED{};
    return this;
  }
  const Kind kind;
};

struct Accept : Operation {
  static constexpr DWORD kAddress = sizeof(sockaddr_storage) + 16;
  Accept() : Operation(Kind::accept) {}
  SOCKET socket = INVALID_SOCKET;
  uint8_t addresses[2 * kAddress];
};

struct ConnectionOperation : Operation {
  ConnectionOperation(Kind what, Connection* owner) : Operation(what), connection(owner) {}
  Connection* const connection;
};

// A broadcast's bytes, shared by all connections they wait on.
using Shared = std::shared_ptr<const std::vector<uint8_t>>;

// Some of a broadcast's receivers, for whichever thread takes it. Has a count of each.
struct Delivery : Operation {
  Delivery(const Shared& what, Connection* const* begin, Connection* const* end)
      : Operation(Kind::deliver), bytes(what), to(begin, end) {}
  const Shared bytes;
  const std::vector<Connection*> to;
};

// Counted: one for being open, one for each operation in the kernel, one for each call that is under way. All state is
// under its lock, also while it calls the socket.
class Connection {
 public:
  Connection(Server* server, SOCKET socket);
  void start();
  void send_shared(const Shared& bytes);
  void on_read(DWORD error, DWORD bytes);
  void on_write(DWORD error, DWORD bytes);
  void on_resume();
  void hold() { count_.fetch_add(1); }
  void release();

 private:
  friend class Server;
  template <class F>
  void locked(F&& f);
  void read();
  bool received(size_t bytes);
  bool write();
  bool next_to_write();
  void close();

  Server* const server_;
  SOCKET socket_;
  std::atomic<uint32_t> count_{1};
  size_t place_ = 0;  // in the server's list
  std::mutex lock_;
  bool reading_ = false;  // a read is in the kernel
  bool writing_ = false;
  PacketBuffer in_;
  std::vector<uint8_t> out_;      // gathers replies
  std::vector<uint8_t> leaving_;  // is being written
  Shared shared_;                 // or this is
  size_t written_ = 0;            // of what is being written
  std::deque<Shared> shared_queue_;
  std::vector<Shared> to_broadcast_;  // when the lock is free again
  ConnectionOperation read_operation_;
  ConnectionOperation write_operation_;
  ConnectionOperation resume_operation_;
};

// False when it did not get through.
bool transmit_file(SOCKET socket, const char* path);

class Server {
 public:
  explicit Server(const ServerOptions& options) : options_(options) {}
  // The port, or 0.
  uint16_t listen();
  void run();
  void broadcast(const Shared& bytes);
  void add(Connection* connection);
  void remove(Connection* connection);
  void post(Operation* operation);
  const ServerOptions& options() const { return options_; }

 private:
  void post_accept(Accept* accept);
  void on_accept(Accept* accept, DWORD error);
  bool adopt(SOCKET socket);
  void serve();
  void dispatch(const OVERLAPPED_ENTRY& entry);

  const ServerOptions options_;
  HANDLE port_ = nullptr;
  SOCKET listener_ = INVALID_SOCKET;
  LPFN_ACCEPTEX accept_ex_ = nullptr;
  std::vector<std::unique_ptr<Accept>> accepts_;
  std::mutex list_lock_;
  std::vector<Connection*> connections_;
};

}  // namespace bench
