#pragma once
// One attempt to connect: ConnectEx with a time limit. Reports CONNECTED or CONNECT_FAILED, exactly
// one of them, under the token of its request.
#include <cstdint>
#include <memory>
#include <vector>

#include "core/proxy_protocol/proxy_header.h"
#include "core/ref.h"
#include "win/io/profile.h"
#include "win/io/timers.h"
#include "win/sys/address.h"
#include "win/sys/guarded_socket.h"
#include "win/sys/operation.h"
#include "win/sys/srw_lock.h"

namespace iocp {

class Engine;

// The header of the PROXY protocol that a connection of this side begins with.
struct ProxySend {
  ProxyHeader header;  // version, command and TLVs
  Address source;      // not known: those of the socket
  Address destination;
  bool checksum = false;
};

struct ConnectOptions {
  Address remote;
  Address local;  // any of the same family when not given
  uint32_t token = 0;
  uint32_t timeout_ms = 0;  // 0: the system's
  ProfileRef profile;
  std::shared_ptr<const ProxySend> proxy;
};

// Counted: one for being registered with the engine, one for the operation in the kernel, one for each
// packet or timer on its way. It is freed at 0.
class ConnectAttempt final {
 public:
  ConnectAttempt(Engine* engine, const ConnectOptions& options);
  ConnectAttempt(const ConnectAttempt&) = delete;
  ConnectAttempt& operator=(const ConnectAttempt&) = delete;

  // Any thread. Has an I/O thread begin. The engine has counted the attempt among what is active.
  void start();
  // Any thread, with a count or under the engine's list of attempts. Advisory: the packet decides.
  void cancel(uint32_t reason);
  uint32_t token() const { return options_.token; }
  void add_ref() { refs_.add(); }
  bool try_add_ref() { return refs_.try_add(); }
  void release();

 private:
  struct ConnectOperation final : Operation {
    explicit ConnectOperation(ConnectAttempt* owner) : Operation(&ConnectAttempt::on_connect), attempt(owner) {}
    ConnectAttempt* attempt;
  };

  ~ConnectAttempt() = default;
  static void on_connect(Operation* self, uint32_t error, uint32_t bytes);
  void begin();
  void time_out() { cancel(WSAETIMEDOUT); }
  uint32_t open();
  void connected();
  std::vector<uint8_t> proxy_header(const Address& local) const;
  void finish(uint32_t error);
  void report_failure(uint32_t error);

  Engine* const engine_;
  const ConnectOptions options_;
  RefCount refs_;
  PostedOperation<ConnectAttempt, &ConnectAttempt::begin> begin_operation_{this};
  ConnectOperation connect_operation_{this};
  MemberTimer<ConnectAttempt, &ConnectAttempt::time_out> timeout_{this};

  SrwLock lock_;
  GuardedSocket socket_;  // entered while ConnectEx is being called
  bool finished_ = false;
  uint32_t cancelled_ = 0;  // why, when it was
};

}  // namespace iocp
