#pragma once
// Where a connection's packets go that are not for the main JavaScript thread.
#include <cstddef>
#include <cstdint>

#include "core/connection_id.h"
#include "core/delivery_queue.h"

namespace iocp {

class Connection;

// Which packets are routed: all, or those with a certain first byte.
struct PacketRoutes {
  bool all = false;
  bool types[256] = {};

  bool contain(const uint8_t* data, size_t size) const { return all || (size != 0 && types[data[0]]); }
};

// I/O threads call it. It tells each connection of the packets that it takes (Connection::jobs_added), and of the end
// of each (Connection::job_ended).
class PacketRouter {
 public:
  struct Packet {
    const uint8_t* data;
    size_t size;
  };

  PacketRouter(const PacketRouter&) = delete;
  PacketRouter& operator=(const PacketRouter&) = delete;

  bool routes(const uint8_t* data, size_t size) const { return routes_.contain(data, size); }
  // Packets of one connection, by its receiving strand. Copies them.
  virtual void add_packets(Connection& connection, const Packet* packets, size_t count, DeliveryCredit* credit) = 0;
  // True when the connection must stop reading; it is unparked when it may go on.
  virtual bool park(ConnectionId id, bool has_routed) = 0;

 protected:
  explicit PacketRouter(const PacketRoutes& routes) : routes_(routes) {}
  ~PacketRouter() = default;

 private:
  const PacketRoutes routes_;
};

}  // namespace iocp
