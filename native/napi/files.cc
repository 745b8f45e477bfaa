#include "napi/files.h"

#include <memory>
#include <string>
#include <utility>

#include "napi/args.h"

namespace iocp {
namespace {

constexpr uint64_t kMaxInteger = 9007199254740991;

// What JavaScript holds for an open file. The file moves out of it while a thread works on it, and for
// good when a connection takes it over.
struct FileSlot {
  FileHome home = std::make_shared<std::unique_ptr<TransferFile>>();
  TransferFile* busy = nullptr;  // the file, while a thread works on it
};

// While the environment is being torn down nothing can be made any more; then the file is closed here.
Napi::Value wrap(Napi::Env env, std::unique_ptr<TransferFile> file) {
  auto slot = std::make_unique<FileSlot>();
  *slot->home = std::move(file);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<FileSlot*>(data); };
  napi_value value = nullptr;
  if (napi_create_external(env, slot.get(), finalize, nullptr, &value) != napi_ok) return env.Undefined();
  (void)slot.release();
  return Napi::Value(env, value);
}

// The path that an argument is. False, with an exception, for one that the system would cut at a NUL: it would be
// another file's.
bool read_path(Napi::Env env, Napi::Value value, std::wstring* out) {
  if (value.IsString()) {
    const std::u16string text = value.As<Napi::String>().Utf16Value();
    out->assign(text.begin(), text.end());
  }
  if (!out->empty() && out->find(L'\0') == std::wstring::npos) return true;
  Napi::TypeError::New(env, "iocp addon: wrong argument: path").ThrowAsJavaScriptException();
  return false;
}

struct Opened {
  std::wstring path;
  std::unique_ptr<TransferFile> file;
};

Napi::Value describe(Napi::Env env, Opened* opened) {
  Napi::Object result = Napi::Object::New(env);
  if (opened->file == nullptr) return result;
  const double size = static_cast<double>(opened->file->size());
  result.Set("file", wrap(env, std::move(opened->file)));
  result.Set("size", Napi::Number::New(env, size));
  return result;
}

// A file that a disk thread works on, while the place where JavaScript holds it is empty.
struct Taken {
  explicit Taken(const Napi::Value& value) : slot(value.As<Napi::External<FileSlot>>().Data()) {
    file = std::move(*slot->home);
    slot->busy = file.get();
    holder = Napi::Persistent(value);
  }
  // JavaScript thread.
  void give_back() {
    slot->busy = nullptr;
    *slot->home = std::move(file);
    holder.Reset();
  }

  std::unique_ptr<TransferFile> file;
  FileSlot* const slot;
  Napi::Reference<Napi::Value> holder;  // keeps the slot
};

struct Hashed final : Taken {
  using Taken::Taken;
  uint64_t at = 0;
  bool done = false;
  uint8_t digest[Sha256::kSize] = {};
};

uint32_t hash_on_thread(Hashed* hashed, uint64_t bytes, bool keep) {
  if (hashed->file == nullptr) return ERROR_INVALID_HANDLE;
  const uint32_t error = hashed->file->hash_some(&hashed->at, bytes);
  if (error != 0 || hashed->at < bytes) return error;
  hashed->done = true;
  return hashed->file->end_hash(keep, hashed->digest) ? 0 : static_cast<uint32_t>(ERROR_NOT_SUPPORTED);
}

std::string bytes_of(const ArgumentReader& reader, const char* name) {
  const Napi::Value value = reader.get(name);
  if (!value.IsTypedArray()) return {};
  const Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
}

const uint8_t* start_of(const std::string& bytes) { return reinterpret_cast<const uint8_t*>(bytes.data()); }

}  // namespace

Napi::Value open_source(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  auto opened = std::make_shared<Opened>();
  if (!read_path(info.Env(), info[0], &opened->path)) return info.Env().Undefined();
  const bool hash = boolean_of(info[1]);
  const bool share_write = boolean_of(info[2]);
  FileJobs::Plan plan;
  plan.syscall = "open";
  plan.breakable = true;
  plan.work = [opened, hash, share_write] {
    return TransferFile::open_source(opened->path, hash, share_write, &opened->file);
  };
  plan.result = [opened](Napi::Env env) { return describe(env, opened.get()); };
  return jobs->start(info.Env(), engine, std::move(plan));
}

Napi::Value open_target(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  auto opened = std::make_shared<Opened>();
  if (!read_path(info.Env(), info[0], &opened->path)) return info.Env().Undefined();
  const uint64_t size = whole_number(info[1]);
  const bool resume = boolean_of(info[2]);
  const bool hash = boolean_of(info[3]);
  FileJobs::Plan plan;
  plan.syscall = "open";
  plan.breakable = true;
  plan.creates = true;
  plan.work = [opened, size, resume, hash] {
    return TransferFile::open_target(opened->path, size, resume, hash, &opened->file);
  };
  plan.result = [opened](Napi::Env env) { return describe(env, opened.get()); };
  return jobs->start(info.Env(), engine, std::move(plan));
}

// Some of the first `bytes`, from where the last call has ended: gives how far it has come, and in the end
// the digest; with `keep` the file's own hash goes on behind them. Each call is short, so that it holds neither
// a disk thread nor the end of an environment for long, and it is JavaScript that makes the next one.
Napi::Value hash_some(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  auto hashed = std::make_shared<Hashed>(info[0]);
  hashed->at = whole_number(info[1]);
  const uint64_t bytes = whole_number(info[2]);
  const bool keep = boolean_of(info[3]);
  FileJobs::Plan plan;
  plan.syscall = "read";
  plan.breakable = true;
  plan.work = [hashed, bytes, keep] { return hash_on_thread(hashed.get(), bytes, keep); };
  plan.result = [hashed](Napi::Env env) -> Napi::Value {
    hashed->give_back();
    if (!hashed->done) return Napi::Number::New(env, static_cast<double>(hashed->at));
    return Napi::Buffer<uint8_t>::Copy(env, hashed->digest, sizeof(hashed->digest));
  };
  const Napi::Value promise = jobs->start(info.Env(), engine, std::move(plan));
  if (promise.IsEmpty()) hashed->slot->busy = nullptr;  // the file goes with `hashed`
  return promise;
}

Napi::Value rename_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  std::wstring to;
  if (!read_path(info.Env(), info[1], &to)) return info.Env().Undefined();
  auto taken = std::make_shared<Taken>(info[0]);
  FileJobs::Plan plan;
  plan.syscall = "rename";
  plan.lane = DiskLane::end;
  plan.work = [taken, to, replace = boolean_of(info[2])] {
    return taken->file == nullptr ? static_cast<uint32_t>(ERROR_INVALID_HANDLE) : taken->file->rename(to, replace);
  };
  plan.result = [taken](Napi::Env env) {
    taken->give_back();
    return env.Undefined();
  };
  const Napi::Value promise = jobs->start(info.Env(), engine, std::move(plan));
  if (promise.IsEmpty()) taken->slot->busy = nullptr;  // the file goes with `taken`
  return promise;
}

void stop_file(const Napi::CallbackInfo& info) {
  if (!info[0].IsExternal()) return;
  FileSlot* const slot = info[0].As<Napi::External<FileSlot>>().Data();
  TransferFile* const file = slot->busy != nullptr ? slot->busy : slot->home->get();
  if (file != nullptr) file->stop();
}

Napi::Value close_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  const FileHome home = home_of(info[0]);
  if (home == nullptr) return info.Env().Undefined();
  auto file = std::make_shared<std::unique_ptr<TransferFile>>(std::move(*home));
  // Without an engine there is no other thread for it, and it is closed here.
  if (engine == nullptr) return info.Env().Undefined();
  FileJobs::Plan plan;
  plan.syscall = "close";
  plan.lane = DiskLane::end;
  plan.work = [file] {
    file->reset();
    return 0u;
  };
  plan.result = [](Napi::Env env) { return env.Undefined(); };
  return jobs->start(info.Env(), engine, std::move(plan));
}

Napi::Value move_file(const Napi::CallbackInfo& info, Engine* engine, FileJobs* jobs) {
  std::wstring from;
  std::wstring to;
  if (!read_path(info.Env(), info[0], &from) || !read_path(info.Env(), info[1], &to)) return info.Env().Undefined();
  FileJobs::Plan plan;
  plan.syscall = "rename";
  plan.lane = DiskLane::end;
  plan.work = [from, to, replace = boolean_of(info[2])] { return TransferFile::move(from, to, replace); };
  plan.result = [](Napi::Env env) { return env.Undefined(); };
  return jobs->start(info.Env(), engine, std::move(plan));
}

FileHome home_of(Napi::Value value) {
  if (!value.IsExternal()) return nullptr;
  const FileHome& home = value.As<Napi::External<FileSlot>>().Data()->home;
  return *home != nullptr ? home : nullptr;
}

bool read_send_file(Napi::Env env, Napi::Value value, SendFileOptions* out) {
  ArgumentReader reader(env, value);
  out->id = static_cast<uint32_t>(reader.number("id", 0, UINT32_MAX));
  out->offset = reader.number("offset", 0, kMaxInteger);
  out->length = reader.number("length", 0, kMaxInteger - out->offset);
  out->start = reader.number("start", 0, kMaxInteger - out->length);
  // One TransmitFile carries no more than this, its head included.
  out->chunk = static_cast<uint32_t>(reader.number("chunk", 1, 2147483646 - 64));
  out->framed = reader.boolean("framed");
  out->held = reader.boolean("held") && !out->framed;
  out->transmit = reader.boolean("transmit");
  out->bytes_per_second = reader.number("bytesPerSecond", 0, kMaxInteger / 1000);
  return reader.finish();
}

bool read_receive_file(Napi::Env env, Napi::Value value, ReceiveFileOptions* out) {
  ArgumentReader reader(env, value);
  out->id = static_cast<uint32_t>(reader.number("id", 0, UINT32_MAX));
  out->offset = reader.number("offset", 0, kMaxInteger);
  out->bytes = reader.number("bytes", 0, kMaxInteger);
  out->raw = reader.boolean("raw");
  return reader.finish();
}

bool read_transfer_frame(Napi::Env env, Napi::Value value, OwnedTransferFrame* out) {
  ArgumentReader reader(env, value);
  TransferFrame& frame = out->frame;
  frame.kind = static_cast<TransferKind>(reader.number("kind", kTransferTypes, kTransferTypes + 7u));
  frame.id = static_cast<uint32_t>(reader.number("id", 0, UINT32_MAX));
  if (reader.has("number")) frame.number = reader.number("number", 0, kMaxInteger);
  if (reader.has("code")) frame.code = static_cast<uint16_t>(reader.number("code", 0, UINT16_MAX));
  if (reader.has("side")) frame.side = static_cast<uint8_t>(reader.number("side", 0, 1));
  frame.has_hash = reader.has("hasHash") && reader.boolean("hasHash");
  out->hash = bytes_of(reader, "hash");
  if (!out->hash.empty()) {
    if (out->hash.size() != kTransferHash) reader.fail("hash");
    frame.has_hash = true;
  } else if (frame.has_hash && frame.kind != TransferKind::offer) {
    reader.fail("hash");
  }
  out->name = bytes_of(reader, "name");
  out->rest = bytes_of(reader, "rest");
  frame.hash = start_of(out->hash);
  frame.name = start_of(out->name);
  frame.name_size = out->name.size();
  frame.rest = start_of(out->rest);
  frame.rest_size = out->rest.size();
  return reader.finish();
}

}  // namespace iocp
