#pragma once
// Test builds only (IOCP_FAULT_SEAM): makes any call under the engine fail, come short or come late. In the addon that
// is shipped the macros below are nothing.
//
// Each function of native/win that calls the system has one of them, or is named in test/unit/system_calls.test.ts with
// the reason why it has none.
#ifdef IOCP_FAULT_SEAM
#include <cstdint>

#include "win/sys/win.h"

namespace iocp {

#define IOCP_FAULT_CALLS(X) \
  X(start_winsock)          \
  X(extension_function)     \
  X(providers)              \
  X(thread_slot)            \
  X(thread)                 \
  X(create_port)            \
  X(wait)                   \
  X(post)                   \
  X(post_quit)              \
  X(memory)                 \
  X(socket)                 \
  X(bind)                   \
  X(exclusive)              \
  X(v6_only)                \
  X(listen)                 \
  X(local_address)          \
  X(no_delay)               \
  X(read_no_delay)          \
  X(option)                 \
  X(share_port)             \
  X(associate)              \
  X(skip_port)              \
  X(accept)                 \
  X(accept_context)         \
  X(conditional)            \
  X(conditional_accept)     \
  X(one_syn)                \
  X(connect)                \
  X(connect_context)        \
  X(zero_read)              \
  X(non_blocking)           \
  X(unread)                 \
  X(receive)                \
  X(receive_now)            \
  X(send)                   \
  X(transmit_file)          \
  X(linger)                 \
  X(shutdown)               \
  X(cancel)                 \
  X(open_file)              \
  X(file_type)              \
  X(file_information)       \
  X(event)                  \
  X(read_file)              \
  X(hash)                   \
  X(hash_read)              \
  X(write_file)             \
  X(allocate_file)          \
  X(size_file)              \
  X(query_size)             \
  X(close_file)             \
  X(move_file)              \
  X(rename_posix)           \
  X(rename_file)            \
  X(temporary)              \
  X(delete_file)            \
  X(cancel_file)            \
  X(cancel_disk)            \
  X(arm)                    \
  X(completion)

namespace fault {

#define IOCP_FAULT_ENUMERATOR(name) name,
enum class Call : uint32_t { IOCP_FAULT_CALLS(IOCP_FAULT_ENUMERATOR) count };
#undef IOCP_FAULT_ENUMERATOR

// One rule per call. All counts are of calls since the rule was set.
struct Rule {
  uint32_t error = 0;         // the Winsock/Win32 number to fail with; 0: do not fail
  uint32_t status = 0;        // the NTSTATUS of a call that pends first and then fails; 0: it does not
  uint32_t skip = 0;          // let this many calls through first
  uint32_t count = 0;         // then hit this many (0: no end)
  uint32_t per_mille = 1000;  // of those, how many per thousand
  // Sends and receives: at most this many bytes; 0: whole. With an error or a status: those that do not fail.
  uint32_t short_to = 0;
  uint32_t delay_ms = 0;  // completions: hold back for a random time up to this
  uint32_t block_ms = 0;  // calls on files: the calling thread waits so long
  bool pretend = false;   // the call is not made, and succeeds
  bool keep = false;      // reads and writes of files: pending until they are cancelled
  bool late = false;      // those that are kept: the cancel comes too late, they end well
};

const char* call_name(Call call);
void set_rule(Call call, const Rule& rule);
void clear_rules();
// Where the chance of rules per thousand begins.
void set_seed(uint32_t seed);
// How often a rule has hit since it was set.
uint32_t hits(Call call);

// Asked by the wrappers, mostly in socket_calls.h and file_calls.h. False and the last error set when the call is to
// fail.
bool passes(Call call);
ULONG shorten(Call call, ULONG size);
// True when the call shall not be made, and succeed.
bool pretends(Call call);
// True when the call shall pend and then fail; the operation has its status then, and the caller posts it.
bool fails_later(Call call, OVERLAPPED* operation);
// For each packet dequeued: milliseconds to hold it back.
uint32_t delay(Call call);
bool has_delay(Call call);
// Milliseconds for which the calling thread waits.
uint32_t block(Call call);
// True when this call shall pend and never end by itself.
bool keeps(Call call, void* operation);
// True when that is what the operation does; then it is the caller's to end it, once, with this status.
bool gives_back(void* operation, uint32_t* status);

}  // namespace fault
}  // namespace iocp
#define IOCP_FAULT_POINT(call) \
  if (!fault::passes(fault::Call::call)) return static_cast<uint32_t>(WSAGetLastError())
// For functions that return something else; the last error is set.
#define IOCP_FAULT_POINT_OR(call, value) \
  if (!fault::passes(fault::Call::call)) return value
#define IOCP_FAULT_SHORTEN(call, size) fault::shorten(fault::Call::call, (size))
#define IOCP_FAULT_KEEP(call, operation) \
  if (fault::keeps(fault::Call::call, (operation))) return WSA_IO_PENDING
// Pending at first; its packet, with the rule's status, comes by the port.
#define IOCP_FAULT_LATER(call, port, operation) \
  if (fault::fails_later(fault::Call::call, (operation)) && (port).post(operation)) return WSA_IO_PENDING
#define IOCP_FAULT_PRETEND(call) \
  if (fault::pretends(fault::Call::call)) return 0
#define IOCP_FAULT_BLOCK(call) \
  if (const uint32_t block = fault::block(fault::Call::call)) Sleep(block)
#else
#define IOCP_FAULT_POINT(call) (void)0
#define IOCP_FAULT_POINT_OR(call, value) (void)0
#define IOCP_FAULT_LATER(call, port, operation) (void)(port)
#define IOCP_FAULT_SHORTEN(call, size) (size)
#define IOCP_FAULT_KEEP(call, operation) (void)0
#define IOCP_FAULT_PRETEND(call) (void)0
#define IOCP_FAULT_BLOCK(call) (void)0
#endif
