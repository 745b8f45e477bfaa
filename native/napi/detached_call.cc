#include "napi/detached_call.h"

namespace iocp {

napi_status call_detached(napi_env env, napi_value function, size_t count, const napi_value* arguments,
                          napi_value* result) {
  // Without an async_context Node enters an empty one. In Node 22 storages keep their values on the
  // receiver, which therefore is a new object each time.
  napi_value receiver = nullptr;
  const napi_status status = napi_create_object(env, &receiver);
  if (status != napi_ok) return status;
  return napi_make_callback(env, nullptr, receiver, function, count, arguments, result);
}

bool hand_over_detached(napi_env env, napi_value function, size_t count, const napi_value* arguments) {
  const napi_status status = call_detached(env, function, count, arguments, nullptr);
  if (status == napi_ok) return true;
  // The facade goes on with the rest of the batch by itself.
  napi_value error = nullptr;
  if (status != napi_pending_exception || napi_get_and_clear_last_exception(env, &error) != napi_ok) {
    return false;
  }
  return napi_fatal_exception(env, error) == napi_ok;
}

Napi::Value without_context(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsFunction()) {
    Napi::TypeError::New(env, "iocp addon: wrong argument: function").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  napi_value result = nullptr;
  // What it throws stays pending, and is thrown when this returns.
  if (call_detached(env, info[0], 0, nullptr, &result) != napi_ok) return Napi::Value();
  return Napi::Value(env, result);
}

}  // namespace iocp
