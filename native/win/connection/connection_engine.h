#pragma once
// What a connection needs of the engine that it belongs to, besides the port and what goes with it.
#include <memory>

#include "core/access/access_rules.h"
#include "core/ref.h"
#include "core/send_queue.h"
#include "win/connection/packet_router.h"
#include "win/io/io_context.h"

namespace iocp {

class Connection;
struct TransmitOperation;

class ConnectionEngine : public IoContext {
 public:
  // Any thread: an I/O thread calls connection->service() soon.
  virtual void schedule(Ref<Connection> connection) = 0;
  // I/O threads: has connection->receiver().run_deferred() called when this thread has done what else there is to do.
  // False when the caller is no thread that could.
  virtual bool defer_read(Connection* connection) = 0;
  // The receiving strand: whether a connection may come in whose preamble is through. If not, it closes. `is_client`:
  // the peer is asked about; else it is the balancer itself.
  virtual bool admit(Connection* connection, bool is_client) = 0;
  // The receiving strand: reports CONNECTION, with `details` behind the addresses.
  virtual void announce(Connection* connection, ByteSpan details) = 0;
  // Any thread: a peer is refused because of its preamble.
  virtual void note_refused(Refusal refusal) = 0;
  // With the last count, behind the CLOSE record: frees the connection.
  virtual void remove_connection(Connection* connection) = 0;
  // Of a call that has failed at once: no packet should come, and none that does may find freed memory.
  virtual void keep_for_late_packet(std::unique_ptr<TransmitOperation> operation) = 0;

  // Null: every packet is for the main thread. Fixed before the first connection.
  PacketRouter* router() const { return router_; }

 protected:
  using IoContext::IoContext;
  ~ConnectionEngine() = default;

  PacketRouter* router_ = nullptr;
};

}  // namespace iocp
