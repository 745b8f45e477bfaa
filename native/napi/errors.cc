#include "napi/errors.h"

#include <string>

#include "core/error_table.h"

namespace iocp {

Napi::Error make_system_error(Napi::Env env, const char* syscall, uint32_t win_code) {
  const ErrorInfo& info = error_info(win_code);
  Napi::Error error = Napi::Error::New(env, std::string(syscall) + " " + info.name + ": " + info.message);
  error.Set("syscall", Napi::String::New(env, syscall));
  error.Set("winCode", Napi::Number::New(env, win_code));
  return error;
}

void throw_system_error(Napi::Env env, const char* syscall, uint32_t win_code) {
  make_system_error(env, syscall, win_code).ThrowAsJavaScriptException();
}

}  // namespace iocp
