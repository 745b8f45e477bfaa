#pragma once
#include <cstdint>

#include "win/profile.h"
#include "win/win.h"

namespace iocp {

// What a profile asks for. Options are wishes: a system that refuses one still gives a connection. A connection gets
// TCP_NODELAY from its listener where the system hands it down: one call less for each.
enum class NoDelay : uint8_t { inherited, to_set };
void apply_socket_options(SOCKET socket, const Profile& profile, NoDelay no_delay);

// Calls that succeed at once then leave no packet on the port. Only where every provider hands out
// real file handles (ExtensionFunctions::ifs_handles).
bool skip_port_on_success(HANDLE socket);

}  // namespace iocp
