#include "win/connection/socket_options.h"

#include "win/sys/socket_calls.h"

namespace iocp {
namespace {

using calls::set_option;

// Idle time, interval and count each have an option since Windows 10 1709, in seconds. Before, one
// call sets the first two, in milliseconds, and the count is the system's (10).
void apply_keep_alive(SOCKET socket, const Profile& profile) {
  const auto seconds = [](uint32_t ms) { return static_cast<DWORD>(ms / 1000 + (ms % 1000 != 0 ? 1 : 0)); };
  if (!set_option<DWORD>(socket, SOL_SOCKET, SO_KEEPALIVE, 1)) return;
  const bool modern = set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds(profile.keep_alive_ms)) &&
                      set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, seconds(profile.keep_alive_interval_ms)) &&
                      set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, static_cast<DWORD>(profile.keep_alive_count));
  if (modern) return;
  calls::set_keep_alive_values(socket, {1, profile.keep_alive_ms, profile.keep_alive_interval_ms});
}

void apply_buffer_sizes(SOCKET socket, const Profile& profile) {
  if (profile.receive_buffer != 0) {
    set_option(socket, SOL_SOCKET, SO_RCVBUF, static_cast<int>(profile.receive_buffer));
  }
  if (profile.send_buffer != 0) {
    set_option(socket, SOL_SOCKET, SO_SNDBUF, static_cast<int>(profile.send_buffer));
  }
}

}  // namespace

void apply_listener_options(SOCKET socket, const Profile& profile) {
  if (profile.no_delay && calls::set_no_delay(socket) == 0) calls::check_no_delay(socket);
  apply_buffer_sizes(socket, profile);
}

void apply_socket_options(SOCKET socket, const Profile& profile, NoDelay no_delay) {
  if (profile.no_delay && (no_delay == NoDelay::inherited || calls::set_no_delay(socket) == 0)) {
    calls::check_no_delay(socket);
  }
  if (profile.keep_alive_ms != 0) apply_keep_alive(socket, profile);
  apply_buffer_sizes(socket, profile);
  if (profile.type_of_service != 0) {
    set_option(socket, IPPROTO_IP, IP_TOS, static_cast<DWORD>(profile.type_of_service));
  }
}

}  // namespace iocp
