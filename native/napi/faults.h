#pragma once
#ifdef IOCP_FAULT_SEAM
#include <napi.h>

namespace iocp {

// { calls: string[], set(call, rule), clear(), seed(number), hits(call) } of the fault seam.
Napi::Object define_faults(Napi::Env env);

}  // namespace iocp
#endif
