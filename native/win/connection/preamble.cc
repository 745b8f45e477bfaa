#include "win/connection/preamble.h"

#include "win/connection/connection.h"

namespace iocp {

void Preamble::begin(Connection* connection) {
  connection_ = connection;
  connection->engine()->arm(timer_, timeout_ms_);
}

void Preamble::end() { connection_->engine()->cancel(timer_); }

bool Preamble::TimerCounts::hold(Preamble* preamble) {
  if (!preamble->connection_->try_add_ref()) return false;
  preamble->add_ref();
  return true;
}

void Preamble::TimerCounts::let_go(Preamble* preamble) {
  const Ref<Connection> connection = Ref<Connection>::adopt(preamble->connection_);
  preamble->release();
}

void Preamble::time_out() { connection_->refuse(timeout_); }

}  // namespace iocp
