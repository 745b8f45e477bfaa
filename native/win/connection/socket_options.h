#pragma once
#include <cstdint>

#include "win/io/profile.h"
#include "win/sys/win.h"

namespace iocp {

// Options are wishes: a system that refuses one still gives a connection.

// Before listen(): TCP_NODELAY, which accepted sockets inherit where the system hands it down, and the sizes of
// buffers, which decide about the scale of a connection's TCP window while it is made.
void apply_listener_options(SOCKET socket, const Profile& profile);

// What a profile asks for. `inherited`: one call less for each.
enum class NoDelay : uint8_t { inherited, to_set };
void apply_socket_options(SOCKET socket, const Profile& profile, NoDelay no_delay);

}  // namespace iocp
