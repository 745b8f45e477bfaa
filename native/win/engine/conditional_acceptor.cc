#include "win/engine/conditional_acceptor.h"

#include <utility>

#include "win/engine/engine.h"
#include "win/engine/listener.h"
#include "win/sys/socket_calls.h"
#include "win/sys/threads.h"

namespace iocp {
namespace {

// So often at least it looks whether somebody wants to connect. The event says it at once, but Wine may lose one: a
// stale report of the kernel behind the accept of the last peer counts as told, and nothing is told until the next
// accept.
constexpr DWORD kLookAgainMs = 1000;

// One call of WSAAccept, for its condition function.
struct Candidate {
  Candidate(Listener* owner, bool with_place) : listener(owner), has_place(with_place) {}

  Listener* const listener;
  const bool has_place;
  bool judged = false;
  Refusal refusal = Refusal::none;
  Address peer;
  uint8_t subnet_bits = AccessControl::kNotCounted;

  bool is_in() const { return judged && refusal == Refusal::none; }
};

// The system waits for the answer; it is never CF_DEFER, which would bring the same peer again and again.
int CALLBACK decide(LPWSABUF caller, LPWSABUF, LPQOS, LPQOS, LPWSABUF, LPWSABUF, GROUP FAR*, DWORD_PTR context) {
  auto* const candidate = reinterpret_cast<Candidate*>(context);
  if (candidate->listener->engine()->stopping() || caller == nullptr || caller->buf == nullptr) return CF_REJECT;
  candidate->peer =
      Address::from(reinterpret_cast<const sockaddr*>(caller->buf), static_cast<int>(caller->len)).unmapped();
  candidate->refusal = candidate->listener->judge(candidate->peer, candidate->has_place, &candidate->subnet_bits);
  candidate->judged = true;
  return candidate->is_in() ? CF_ACCEPT : CF_REJECT;
}

UniqueHandle make_event() { return UniqueHandle(CreateEventW(nullptr, FALSE, FALSE, nullptr)); }

}  // namespace

uint32_t ConditionalAcceptor::open(SOCKET listening, const char** syscall) {
  coming_ = make_event();
  wake_ = make_event();
  *syscall = "CreateEvent";
  if (!coming_ || !wake_) return GetLastError();
  *syscall = "WSAEventSelect";
  const uint32_t error = calls::select_accepts(listening, coming_.get());
  if (error != 0) return error;
  *syscall = "_beginthreadex";
  thread_ = start_thread(&entry, this);
  return thread_ ? 0 : static_cast<uint32_t>(ERROR_NOT_ENOUGH_MEMORY);
}

void ConditionalAcceptor::join() {
  if (!thread_) return;
  WaitForSingleObject(thread_.get(), INFINITE);
  thread_.reset();
}

unsigned __stdcall ConditionalAcceptor::entry(void* self) {
  static_cast<ConditionalAcceptor*>(self)->run();
  return 0;
}

void ConditionalAcceptor::run() {
  name_this_thread(L"iocp accept ", listener_->index());
  const HANDLE events[] = {wake_.get(), coming_.get()};
  WaitForSingleObject(wake_.get(), INFINITE);  // begin()
  while (!listener_->is_closing()) {
    DWORD pause_ms = INFINITE;
    switch (accept_one(&pause_ms)) {
      case Next::at_once:
        break;
      case Next::when_somebody_comes:
        WaitForMultipleObjects(2, events, FALSE, kLookAgainMs);
        break;
      case Next::when_woken:
        WaitForSingleObject(wake_.get(), pause_ms);
        break;
    }
  }
  // The engine waits for this thread before it goes, and so does the way to JavaScript.
  Engine* const engine = listener_->engine();
  listener_->release();
  engine->wake_if_needed();
}

ConditionalAcceptor::Next ConditionalAcceptor::accept_one(DWORD* pause_ms) {
  // Who wants to connect waits in the system meanwhile.
  if (listener_->stops_accepting() && !has_place_) has_place_ = listener_->take_place_for_acceptor();
  if (listener_->stops_accepting() && !has_place_) return Next::when_woken;
  if (!listener_->enter()) return Next::at_once;  // it is closing
  Candidate candidate(listener_, has_place_);
  UniqueSocket socket;
  const uint32_t error = calls::accept_if(listener_->socket(), &decide, &candidate, &socket);
  listener_->leave();
  Address local;
  if (error == 0 && candidate.is_in() && Address::local_of(socket.get(), &local) == 0) {
    listener_->accept_succeeded();
    const bool had_place = std::exchange(has_place_, false);
    const bool is_connection =
        listener_->introduce(std::move(socket), local.unmapped(), candidate.peer, candidate.subnet_bits);
    if (!is_connection && had_place) has_place_ = true;
    if (!is_connection && !had_place) listener_->give_place_back();
    listener_->engine()->wake_if_needed();
    return Next::at_once;
  }
  if (candidate.judged && candidate.refusal != Refusal::none) {
    listener_->accept_succeeded();
    listener_->note_refused(candidate.peer, candidate.refusal);
    return Next::at_once;
  }
  if (candidate.is_in()) {
    // It has left between the answer and the handshake.
    if (AccessControl* access = listener_->engine()->access()) access->leave(candidate.peer, candidate.subnet_bits);
    if (!has_place_) listener_->give_place_back();
  }
  // close() wakes; what comes until then is turned away without an answer of its own.
  if (listener_->engine()->stopping()) return Next::when_woken;
  return failed(error == 0 ? static_cast<uint32_t>(WSAECONNRESET) : error, pause_ms);
}

ConditionalAcceptor::Next ConditionalAcceptor::failed(uint32_t error, DWORD* pause_ms) {
  if (error == WSAEWOULDBLOCK) return Next::when_somebody_comes;
  Engine* const engine = listener_->engine();
  engine->count(Counter::accept_failures, 1);
  if (!listener_->needs_pause(error)) return Next::at_once;
  *pause_ms = listener_->report_failure(error);
  engine->wake_if_needed();
  return Next::when_woken;
}

}  // namespace iocp
