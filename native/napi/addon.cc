// Entry point of the addon: one set of exports per JavaScript environment.
#include <string>

#include <napi.h>

#include "core/access/access_rules.h"
#include "core/error_table.h"
#include "core/framing/frame_state.h"
#include "core/proxy_protocol/proxy_header.h"
#include "core/records.h"
#include "core/transfer_protocol.h"
#include "napi/args.h"
#include "napi/detached_call.h"
#include "napi/engine_wrap.h"
#include "napi/faults.h"
#include "napi/files.h"
#include "napi/worker_port.h"
#include "win/sys/win.h"

namespace iocp {
namespace {

// Threads of ours and connection ids live as long as the process: the library must not be unloaded
// with the Worker that loaded it first.
void stay_loaded() {
  HMODULE self = nullptr;
  (void)GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                           reinterpret_cast<LPCWSTR>(&stay_loaded), &self);
}

Napi::Object describe_constants(Napi::Env env) {
  Napi::Object constants = Napi::Object::New(env);
  Napi::Object group;
  const auto begin = [&](const char* name) {
    group = Napi::Object::New(env);
    constants.Set(name, group);
  };
  const auto add = [&](const char* name, uint32_t number) {
    group.Set(camel_case(name), Napi::Number::New(env, number));
  };
#define IOCP_ADD(name, number) add(#name, number);
  begin("record");
  IOCP_RECORD_KINDS(IOCP_ADD)
  begin("op");
  IOCP_OPERATION_KINDS(IOCP_ADD)
  begin("cause");
  IOCP_CLOSE_CAUSES(IOCP_ADD)
  begin("outcome");
  IOCP_SEND_OUTCOMES(IOCP_ADD)
  begin("jobOutcome");
  IOCP_JOB_OUTCOMES(IOCP_ADD)
  begin("fileOutcome");
  IOCP_FILE_OUTCOMES(IOCP_ADD)
  begin("refusal");
  IOCP_REFUSALS(IOCP_ADD)
  begin("offence");
  IOCP_OFFENCES(IOCP_ADD)
  begin("timeEvent");
  IOCP_TIME_EVENTS(IOCP_ADD)
  begin("transferKind");
  IOCP_TRANSFER_KINDS(IOCP_ADD)
  begin("proxyError");
  IOCP_PROXY_ERRORS(IOCP_ADD)
#undef IOCP_ADD
  begin("frameError");
  for (uint8_t i = 0; std::string("unknown") != frame_error_name(static_cast<FrameError>(i)); ++i) {
    add(frame_error_name(static_cast<FrameError>(i)), i);
  }
  return constants;
}

Napi::Value describe_error(const Napi::CallbackInfo& info) {
  const ErrorInfo& error = error_info(uint32_of(info[0]));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("code", error.name);
  result.Set("message", error.message);
  return result;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  stay_loaded();
  exports.Set("Engine", EngineWrap::define(env));
  exports.Set("WorkerPort", WorkerPort::define(env));
  exports.Set("errorInfo", Napi::Function::New(env, &describe_error, "errorInfo"));
  exports.Set("withoutContext", Napi::Function::New(env, &without_context, "withoutContext"));
  exports.Set("constants", describe_constants(env));
#ifdef IOCP_FAULT_SEAM
  exports.Set("faults", define_faults(env));
#endif
  return exports;
}

}  // namespace
}  // namespace iocp

static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) { return iocp::initialize(env, exports); }

NODE_API_MODULE(iocp, initialize_addon)
