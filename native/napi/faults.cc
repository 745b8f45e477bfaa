#include "napi/faults.h"

#ifdef IOCP_FAULT_SEAM
#include <string>

#include "napi/args.h"
#include "win/sys/fault_seam.h"

namespace iocp {
namespace {

bool find_call(const Napi::CallbackInfo& info, fault::Call* out) {
  const std::string name = text_of(info[0]);
  for (uint32_t i = 0; i < static_cast<uint32_t>(fault::Call::count); ++i) {
    if (name != fault::call_name(static_cast<fault::Call>(i))) continue;
    *out = static_cast<fault::Call>(i);
    return true;
  }
  Napi::TypeError::New(info.Env(), "no such call: " + name).ThrowAsJavaScriptException();
  return false;
}

void set_rule(const Napi::CallbackInfo& info) {
  fault::Call call{};
  if (!find_call(info, &call)) return;
  const Napi::Object source = info[1].As<Napi::Object>();
  const auto number = [&](const char* name, uint32_t otherwise) {
    const Napi::Value value = source.Get(name);
    return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : otherwise;
  };
  fault::Rule rule;
  rule.error = number("error", 0);
  rule.status = number("status", 0);
  rule.skip = number("skip", 0);
  rule.count = number("count", 0);
  rule.per_mille = number("perMille", 1000);
  rule.short_to = number("shortTo", 0);
  rule.delay_ms = number("delay", 0);
  rule.block_ms = number("block", 0);
  rule.pretend = boolean_of(source.Get("pretend"));
  rule.keep = boolean_of(source.Get("keep"));
  rule.late = boolean_of(source.Get("late"));
  fault::set_rule(call, rule);
}

Napi::Value hits(const Napi::CallbackInfo& info) {
  fault::Call call{};
  if (!find_call(info, &call)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), fault::hits(call));
}

void clear(const Napi::CallbackInfo&) { fault::clear_rules(); }

void set_seed(const Napi::CallbackInfo& info) { fault::set_seed(info[0].As<Napi::Number>().Uint32Value()); }

}  // namespace

Napi::Object define_faults(Napi::Env env) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Array calls = Napi::Array::New(env);
  for (uint32_t i = 0; i < static_cast<uint32_t>(fault::Call::count); ++i) {
    calls.Set(i, fault::call_name(static_cast<fault::Call>(i)));
  }
  result.Set("calls", calls);
  result.Set("set", Napi::Function::New(env, &set_rule, "set"));
  result.Set("clear", Napi::Function::New(env, &clear, "clear"));
  result.Set("seed", Napi::Function::New(env, &set_seed, "seed"));
  result.Set("hits", Napi::Function::New(env, &hits, "hits"));
  return result;
}

}  // namespace iocp
#endif
