#include "napi/files.h"

#include <functional>
#include <string>
#include <utility>

#include "napi/args.h"
#include "napi/errors.h"

namespace iocp {
namespace {

constexpr uint64_t kMaxInteger = 9007199254740991;

// What JavaScript holds for an open file. The file moves out of it while a thread works on it, and for
// good when a connection takes it over.
struct FileSlot {
  std::unique_ptr<TransferFile> file;
  TransferFile* busy = nullptr;  // the file, while a thread works on it
  bool closed = false;           // when that thread is through with it
};

// While the environment is being torn down nothing can be made any more; then the file is closed here.
Napi::Value wrap(Napi::Env env, std::unique_ptr<TransferFile> file) {
  auto slot = std::make_unique<FileSlot>();
  slot->file = std::move(file);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<FileSlot*>(data); };
  napi_value value = nullptr;
  if (napi_create_external(env, slot.get(), finalize, nullptr, &value) != napi_ok) return env.Undefined();
  (void)slot.release();
  return Napi::Value(env, value);
}

std::wstring wide(Napi::Value value) {
  if (!value.IsString()) return {};
  const std::u16string text = value.As<Napi::String>().Utf16Value();
  return std::wstring(text.begin(), text.end());
}

// Work that may wait for a disk, then a promise that is kept on the JavaScript thread.
class FileWork final : public Napi::AsyncWorker {
 public:
  using Result = std::function<Napi::Value(Napi::Env)>;

  FileWork(Napi::Env env, const char* syscall, std::function<uint32_t()> work, Result result)
      : Napi::AsyncWorker(env, "iocp.file"),
        syscall_(syscall),
        work_(std::move(work)),
        result_(std::move(result)) {}

  // Empty, and nothing is begun, when the environment is being torn down: then there are no promises. (The deferred of
  // node-addon-api would not say so, and hand out what it has never set.)
  Napi::Value start() {
    const Napi::Env env = Env();
    napi_value promise = nullptr;
    if (napi_create_promise(env, &deferred_, &promise) != napi_ok) {
      Destroy();
      return Napi::Value();
    }
    Queue();
    return Napi::Value(env, promise);
  }

 private:
  void Execute() override { error_ = work_(); }
  void OnOK() override {
    const Napi::Value value = result_(Env());
    // Refused while the environment is being torn down; nobody waits then.
    if (error_ == 0) {
      (void)napi_resolve_deferred(Env(), deferred_, value);
    } else {
      (void)napi_reject_deferred(Env(), deferred_, make_system_error(Env(), syscall_, error_).Value());
    }
  }

  const char* const syscall_;
  const std::function<uint32_t()> work_;
  const Result result_;
  napi_deferred deferred_ = nullptr;
  uint32_t error_ = 0;
};

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

Napi::Value open_source(const Napi::CallbackInfo& info) {
  auto opened = std::make_shared<Opened>();
  opened->path = wide(info[0]);
  const bool hash = boolean_of(info[1]);
  return (new FileWork(
              info.Env(), "open",
              [opened, hash] { return TransferFile::open_source(opened->path, hash, &opened->file); },
              [opened](Napi::Env env) { return describe(env, opened.get()); }))
      ->start();
}

Napi::Value open_target(const Napi::CallbackInfo& info) {
  auto opened = std::make_shared<Opened>();
  opened->path = wide(info[0]);
  const uint64_t size = whole_number(info[1]);
  const bool resume = boolean_of(info[2]);
  const bool hash = boolean_of(info[3]);
  return (new FileWork(
              info.Env(), "open",
              [opened, size, resume, hash] {
                return TransferFile::open_target(opened->path, size, resume, hash, &opened->file);
              },
              [opened](Napi::Env env) { return describe(env, opened.get()); }))
      ->start();
}

struct Hashed {
  std::unique_ptr<TransferFile> file;
  FileSlot* slot = nullptr;
  std::shared_ptr<Napi::Reference<Napi::Value>> holder;  // keeps the slot
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

// Some of the first `bytes`, from where the last call has ended: gives how far it has come, and in the end
// the digest; with `keep` the file's own hash goes on behind them. The end of an environment and of the
// process waits for what runs on the pool, before any cleanup hook is called; so each call is short, and
// it is JavaScript that makes the next one.
Napi::Value hash_some(const Napi::CallbackInfo& info) {
  auto hashed = std::make_shared<Hashed>();
  hashed->slot = info[0].As<Napi::External<FileSlot>>().Data();
  hashed->file = std::move(hashed->slot->file);
  hashed->slot->busy = hashed->file.get();
  hashed->holder = std::make_shared<Napi::Reference<Napi::Value>>(
      Napi::Reference<Napi::Value>::New(info[0], 1));
  hashed->at = whole_number(info[1]);
  const uint64_t bytes = whole_number(info[2]);
  const bool keep = boolean_of(info[3]);
  auto* work = new FileWork(
      info.Env(), "read", [hashed, bytes, keep] { return hash_on_thread(hashed.get(), bytes, keep); },
      [hashed](Napi::Env env) -> Napi::Value {
        hashed->slot->busy = nullptr;
        if (hashed->slot->closed) hashed->file.reset();
        hashed->slot->file = std::move(hashed->file);
        hashed->holder->Reset();
        if (!hashed->done) return Napi::Number::New(env, static_cast<double>(hashed->at));
        return Napi::Buffer<uint8_t>::Copy(env, hashed->digest, sizeof(hashed->digest));
      });
  const Napi::Value promise = work->start();
  if (promise.IsEmpty()) hashed->slot->busy = nullptr;  // the file goes with `hashed`
  return promise;
}

// One that a thread works on is closed as soon as that has ended, which it does now.
void close_file(const Napi::CallbackInfo& info) {
  (void)take_file(info[0]);
  if (!info[0].IsExternal()) return;
  FileSlot* slot = info[0].As<Napi::External<FileSlot>>().Data();
  if (slot->busy == nullptr) return;
  slot->closed = true;
  slot->busy->stop();
}

Napi::Value move_file(const Napi::CallbackInfo& info) {
  const std::wstring from = wide(info[0]);
  const std::wstring to = wide(info[1]);
  const bool replace = boolean_of(info[2]);
  return (new FileWork(
              info.Env(), "rename", [from, to, replace] { return TransferFile::move(from, to, replace); },
              [](Napi::Env env) { return env.Undefined(); }))
      ->start();
}

std::string bytes_of(const ArgumentReader& reader, const char* name) {
  const Napi::Value value = reader.get(name);
  if (!value.IsTypedArray()) return {};
  const Napi::Uint8Array bytes = value.As<Napi::Uint8Array>();
  return std::string(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
}

const uint8_t* start_of(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

}  // namespace

void define_files(Napi::Env env, Napi::Object exports) {
  exports.Set("openSource", Napi::Function::New(env, &open_source, "openSource"));
  exports.Set("openTarget", Napi::Function::New(env, &open_target, "openTarget"));
  exports.Set("hashSome", Napi::Function::New(env, &hash_some, "hashSome"));
  exports.Set("closeFile", Napi::Function::New(env, &close_file, "closeFile"));
  exports.Set("moveFile", Napi::Function::New(env, &move_file, "moveFile"));
  exports.Set("transmitsFreely", Napi::Boolean::New(env, edition_transmits_freely()));
}

std::unique_ptr<TransferFile> take_file(Napi::Value value) {
  if (!value.IsExternal()) return nullptr;
  return std::move(value.As<Napi::External<FileSlot>>().Data()->file);
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
