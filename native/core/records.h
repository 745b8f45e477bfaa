#pragma once
// The numbers that native code and JavaScript share: what a batch tells (records), what a submission asks
// for (operations), how things ended. lib/native/protocol.ts has the same lists, those of
// core/transfer_protocol.h and of core/framing/frame_state.h included. They are compared when the addon is loaded.
#include <cstddef>
#include <cstdint>

#include "core/connection_id.h"

namespace iocp {

// [kind, slot, generation, a, b, c]
constexpr size_t kRecordWords = 6;
constexpr size_t kOperationWords = 6;

// X(enumerator, number). The payload column of each record is described in docs/architecture.md.
#define IOCP_RECORD_KINDS(X) \
  X(connection, 1)           \
  X(packet, 2)               \
  X(close, 3)                \
  X(drain, 4)                \
  X(peer_end, 5)             \
  X(listener_closed, 6)      \
  X(listener_error, 7)       \
  X(stopped, 8)              \
  X(connected, 9)            \
  X(connect_failed, 10)      \
  X(sent, 11)                \
  X(dropped, 12)             \
  X(discarded, 13)           \
  X(stream_begin, 14)        \
  X(stream_data, 15)         \
  X(stream_end, 16)          \
  X(protocol_error, 17)      \
  X(transfer, 18)            \
  X(send_progress, 19)       \
  X(send_file_end, 20)       \
  X(receive_progress, 21)    \
  X(receive_file_end, 22)    \
  X(refused, 23)             \
  X(time_limit, 24)          \
  X(job, 40)                 \
  X(job_abort, 41)           \
  X(retire, 42)              \
  X(job_done, 43)            \
  X(job_failed, 44)          \
  X(job_taken, 45)           \
  X(jobs_drained, 46)

#define IOCP_OPERATION_KINDS(X) \
  X(send, 1)                    \
  X(send_pinned, 2)             \
  X(end, 3)                     \
  X(destroy, 4)                 \
  X(reset, 5)                   \
  X(pause, 6)                   \
  X(resume, 7)                  \
  X(demand, 8)                  \
  X(set_framing, 9)             \
  X(free_profile, 11)           \
  X(want_drain, 12)             \
  X(broadcast, 40)              \
  X(broadcast_pinned, 41)       \
  X(job_done, 42)               \
  X(job_done_pinned, 43)

// Why a connection closed; one per connection, fixed by whoever closes it first.
#define IOCP_CLOSE_CAUSES(X)  \
  X(local, 1)                 \
  X(peer_end, 2)              \
  X(peer_reset, 3)            \
  X(timeout, 4)               \
  X(protocol_error, 5)        \
  X(overflow, 6)              \
  X(refused, 7)               \
  X(server_closing, 8)        \
  X(io_error, 9)              \
  X(handler_error, 10)        \
  X(detached, 11)             \
  X(first_packet_timeout, 12) \
  X(packet_timeout, 13)       \
  X(idle_timeout, 14)         \
  X(send_timeout, 15)         \
  X(too_slow, 16)             \
  X(max_life, 17)             \
  X(rate_exceeded, 18)

// Time limits of which JavaScript is told, which decides.
#define IOCP_TIME_EVENTS(X) \
  X(idle_read, 0)           \
  X(idle_write, 1)          \
  X(idle_both, 2)           \
  X(life, 3)

// What became of a packet whose sender asked to be told.
#define IOCP_SEND_OUTCOMES(X) \
  X(sent, 0)                  \
  X(dropped, 1)               \
  X(closed, 2)                \
  X(detached, 3)              \
  X(unframeable, 4)

// How a job ended.
#define IOCP_JOB_OUTCOMES(X) \
  X(done, 0)                 \
  X(failed, 1)               \
  X(worker_exited, 2)        \
  X(connection_closed, 3)    \
  X(rejected, 4)             \
  X(timed_out, 5)            \
  X(cancelled, 6)            \
  X(no_workers, 7)

// How the native part of a file's way has ended.
#define IOCP_FILE_OUTCOMES(X) \
  X(complete, 0)              \
  X(cancelled, 1)             \
  X(failed, 2)                \
  X(excess, 3)

#define IOCP_ENUMERATOR(name, number) name = number,
enum class RecordKind : uint32_t { IOCP_RECORD_KINDS(IOCP_ENUMERATOR) };
enum class OperationKind : uint32_t { IOCP_OPERATION_KINDS(IOCP_ENUMERATOR) };
enum class SendOutcome : uint32_t { IOCP_SEND_OUTCOMES(IOCP_ENUMERATOR) };
enum class CloseCause : uint32_t { none = 0, IOCP_CLOSE_CAUSES(IOCP_ENUMERATOR) };
enum class TimeEvent : uint32_t { IOCP_TIME_EVENTS(IOCP_ENUMERATOR) };
enum class JobOutcome : uint32_t { IOCP_JOB_OUTCOMES(IOCP_ENUMERATOR) };
enum class FileOutcome : uint32_t { IOCP_FILE_OUTCOMES(IOCP_ENUMERATOR) };
#undef IOCP_ENUMERATOR

struct Record {
  uint32_t kind;
  uint32_t slot;
  uint32_t generation;
  uint32_t a;
  uint32_t b;
  uint32_t c;
};
// Of a connection, or of a listener or a job, which are named alike.
constexpr Record record_of(RecordKind kind, ConnectionId of, uint32_t a = 0, uint32_t b = 0, uint32_t c = 0) {
  return {static_cast<uint32_t>(kind), of.slot, of.generation, a, b, c};
}
static_assert(sizeof(Record) == kRecordWords * sizeof(uint32_t), "records are copied as words");

}  // namespace iocp
