#pragma once
#include <cstdint>

namespace iocp {

// The Win32 number for how an operation on a file has ended, the one that the call would have given if it had failed
// at once. Winsock's table has others for some of them. 0 for success.
uint32_t file_error_from_ntstatus(uint32_t status);

}  // namespace iocp
