#pragma once
#include <cstdint>

#include "win/sys/win.h"

namespace iocp {

// Winsock's extension functions, asked for by their GUIDs as its reference wants it: the import
// library's versions look them up again at every call.
struct ExtensionFunctions {
  LPFN_ACCEPTEX accept_ex = nullptr;
  LPFN_GETACCEPTEXSOCKADDRS get_accept_ex_sockaddrs = nullptr;
  LPFN_CONNECTEX connect_ex = nullptr;
  LPFN_TRANSMITFILE transmit_file = nullptr;
  // Both TCP providers hand out real file handles, so a call that succeeds at once may skip the port.
  // A layered provider that does not would lose or double packets.
  bool ifs_handles = false;
  // A connect can be told to send one SYN only. Before Windows 10 1709 the same number would ask for 254 of them.
  bool can_send_one_syn = false;
};

// Starts Winsock and looks the functions up, once per process and for good (a process that is about to
// exit may still have threads in a call). 0 or the Winsock number; on failure the next call tries again.
uint32_t load_extension_functions();
// Valid after load_extension_functions() has returned 0.
const ExtensionFunctions& extension_functions();

}  // namespace iocp
