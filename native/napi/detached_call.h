#pragma once
// Calls of JavaScript that belong to nobody's asynchronous context (AsyncLocalStorage). Node copies the
// context of whoever makes a thread-safe function, or runs one, into everything that comes of it; a
// completion port outlives its first caller and works for all.
//
// JavaScript thread only, inside of a call from JavaScript or a callback scope, so that neither ticks nor
// microtasks run behind the call.
#include <cstddef>

#include <napi.h>

namespace iocp {

// `function` with nothing in its context; what it puts there ends with the call.
napi_status call_detached(napi_env env, napi_value function, size_t count, const napi_value* arguments,
                          napi_value* result);

// The same for a batch: what a user's handler threw becomes an ordinary uncaught exception. False when
// JavaScript cannot run any more.
bool hand_over_detached(napi_env env, napi_value function, size_t count, const napi_value* arguments);

// withoutContext(function) -> what it returns
Napi::Value without_context(const Napi::CallbackInfo& info);

}  // namespace iocp
