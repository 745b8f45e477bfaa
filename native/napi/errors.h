#pragma once
#include <cstdint>

#include <napi.h>

namespace iocp {

// An Error with `syscall` and `winCode`; the facade makes the user's error of it.
Napi::Error make_system_error(Napi::Env env, const char* syscall, uint32_t win_code);
void throw_system_error(Napi::Env env, const char* syscall, uint32_t win_code);

}  // namespace iocp
