#pragma once
#include <cstdint>

#include "win/profile.h"
#include "win/win.h"

namespace iocp {

// What a profile asks for. Options are wishes: a system that refuses one still gives a connection.
void apply_socket_options(SOCKET socket, const Profile& profile);

// Calls that succeed at once then leave no packet on the port. Only where every provider hands out
// real file handles (ExtensionFunctions::ifs_handles).
bool skip_port_on_success(HANDLE socket);

}  // namespace iocp
