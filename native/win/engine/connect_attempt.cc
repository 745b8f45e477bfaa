#include "win/engine/connect_attempt.h"

#include <mutex>
#include <utility>

#include "core/error_table.h"
#include "core/proxy_protocol/proxy_encoder.h"
#include "win/connection/proxy_preamble.h"
#include "win/engine/engine.h"
#include "win/sys/socket_calls.h"

namespace iocp {

ConnectAttempt::ConnectAttempt(Engine* engine, const ConnectOptions& options) : engine_(engine), options_(options) {}

void ConnectAttempt::release() {
  if (!refs_.drop()) return;
  engine_->cancel(timeout_);
  Engine* engine = engine_;
  delete this;
  engine->active_release();
}

void ConnectAttempt::start() {
  add_ref();  // the packet's, for begin()
  engine_->post(&begin_operation_);
}

// On an I/O thread: a thread that exits takes its pending connects with it.
void ConnectAttempt::begin() {
  const Ref<ConnectAttempt> posted = Ref<ConnectAttempt>::adopt(this);
  if (options_.timeout_ms != 0) engine_->arm(timeout_, options_.timeout_ms);
  const uint32_t error = open();
  if (error != 0) finish(error);
}

// 0 when the operation is in the kernel.
uint32_t ConnectAttempt::open() {
  // Asked for after the walk over all attempts that cancels them.
  if (engine_->stopping()) return kErrorOperationAborted;
  UniqueSocket socket;
  uint32_t error = calls::open_stream(options_.remote.family(), &socket);
  if (error != 0) return error;
  // ConnectEx wants a bound socket.
  calls::share_local_port(socket.get());
  const Address local = options_.local.known() ? options_.local : Address::any(options_.remote.family(), 0);
  error = calls::bind_to(socket.get(), local.get(), local.size());
  if (error != 0) return error;
  if (options_.remote.is_loopback()) (void)calls::send_one_syn(socket.get());
  error = calls::associate(engine_->port(), socket.handle());
  if (error != 0) return error;
  const SOCKET raw = socket.get();
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (cancelled_ != 0) return cancelled_;
    socket_.open(std::move(socket));
    (void)socket_.enter();  // not closing: that comes with being cancelled
  }
  Ref<ConnectAttempt> of_connect(this);
  // The packet comes in any case: the socket does not skip the port yet.
  error = calls::connect_to(engine_->port(), raw, options_.remote.get(), options_.remote.size(),
                            connect_operation_.prepare());
  UniqueSocket to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (socket_.leave()) to_close = socket_.take();
  }
  calls::cancel_and_close(std::move(to_close));
  if (error != 0 && error != WSA_IO_PENDING) return error;
  (void)of_connect.detach();
  return 0;
}

void ConnectAttempt::cancel(uint32_t reason) {
  UniqueSocket to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (cancelled_ != 0 || finished_) return;
    cancelled_ = reason;
    if (socket_.close()) to_close = socket_.take();
  }
  // Without a socket begin() sees it.
  calls::cancel_and_close(std::move(to_close));
}

void ConnectAttempt::on_connect(Operation* self, uint32_t error, uint32_t) {
  const Ref<ConnectAttempt> attempt = Ref<ConnectAttempt>::adopt(static_cast<ConnectOperation*>(self)->attempt);
  if (error == 0) {
    attempt->connected();
  } else {
    attempt->finish(error);
  }
}

void ConnectAttempt::connected() {
  UniqueSocket socket;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (cancelled_ == 0) {
      socket = socket_.take();
      finished_ = true;  // from here on cancel() comes too late
    }
  }
  if (!socket) return finish(kErrorOperationAborted);
  // Without it shutdown and getpeername fail on the connected socket.
  uint32_t error = calls::update_connect_context(socket.get());
  Address local;
  if (error == 0) error = Address::local_of(socket.get(), &local);
  if (error != 0) return report_failure(error);
  if (engine_->stopping()) return report_failure(kErrorOperationAborted);
  engine_->count(Counter::connects, 1);
  const Record announcement = record_of(RecordKind::connected, {}, 0, 0, options_.token);
  const std::vector<uint8_t> preface = proxy_header(local.unmapped());
  error = engine_->add_connection({std::move(socket),
                                   options_.profile,
                                   local.unmapped(),
                                   options_.remote.unmapped(),
                                   nullptr,
                                   announcement,
                                   AccessControl::kNotCounted,
                                   nullptr,
                                   {preface.data(), preface.size()}});
  if (error != 0) return report_failure(error);
  engine_->remove_attempt(this);
  release();  // the count of being registered
}

std::vector<uint8_t> ConnectAttempt::proxy_header(const Address& local) const {
  if (options_.proxy == nullptr) return {};
  const ProxySend& proxy = *options_.proxy;
  ProxyHeader header = proxy.header;
  if (header.command == ProxyCommand::proxy) {
    set_endpoints(proxy.source.known() ? proxy.source : local,
                  proxy.destination.known() ? proxy.destination : options_.remote.unmapped(), &header);
  } else if (header.version == 1) {
    header.command = ProxyCommand::proxy;  // and no family: UNKNOWN
  }
  return encode_proxy_header(header, proxy.checksum);
}

void ConnectAttempt::finish(uint32_t error) {
  UniqueSocket to_close;
  {
    std::lock_guard<SrwLock> guard(lock_);
    if (finished_) return;
    finished_ = true;
    to_close = socket_.take();
    if (cancelled_ != 0) error = cancelled_;
  }
  report_failure(error);
}

void ConnectAttempt::report_failure(uint32_t error) {
  engine_->count(Counter::connect_failures, 1);
  engine_->remove_attempt(this);
  engine_->report(RecordKind::connect_failed, {}, error, 0, options_.token);
  release();  // the count of being registered
}

}  // namespace iocp
