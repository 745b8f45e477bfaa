#pragma once
#include <napi.h>

#include "win/engine/engine.h"
#include "win/jobs/job_hub.h"

namespace iocp {

// What stats() and connectionInfo() tell; read only when somebody asks.
Napi::Object describe_engine(Napi::Env env, Engine& engine);
Napi::Object describe_jobs(Napi::Env env, JobHub& hub);
Napi::Object describe_connection(Napi::Env env, Connection& connection);

}  // namespace iocp
