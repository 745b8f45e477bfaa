#include "win/sys/extension_functions.h"

#include <mutex>
#include <vector>

#include "win/sys/fault_seam.h"
#include "win/sys/handles.h"
#include "win/sys/srw_lock.h"

namespace iocp {
namespace {

constexpr uint32_t kWindows10Version1709 = 16299;

SrwLock g_lock;
bool g_loaded = false;
ExtensionFunctions g_functions;

template <class Function>
uint32_t look_up(SOCKET socket, GUID guid, Function* out) {
  IOCP_FAULT_POINT(extension_function);
  DWORD bytes = 0;
  const int rc = WSAIoctl(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof(guid), out, sizeof(*out), &bytes,
                          nullptr, nullptr);
  return rc == 0 ? 0 : static_cast<uint32_t>(WSAGetLastError());
}

bool providers_have_ifs_handles() {
  IOCP_FAULT_POINT_OR(providers, false);
  INT protocols[] = {IPPROTO_TCP, 0};
  DWORD size = 0;
  if (WSAEnumProtocolsW(protocols, nullptr, &size) != SOCKET_ERROR || WSAGetLastError() != WSAENOBUFS) {
    return false;
  }
  std::vector<WSAPROTOCOL_INFOW> infos(size / sizeof(WSAPROTOCOL_INFOW) + 1);
  size = static_cast<DWORD>(infos.size() * sizeof(WSAPROTOCOL_INFOW));
  const int count = WSAEnumProtocolsW(protocols, infos.data(), &size);
  if (count == SOCKET_ERROR || count == 0) return false;
  for (int i = 0; i < count; ++i) {
    const WSAPROTOCOL_INFOW& info = infos[static_cast<size_t>(i)];
    if ((info.iAddressFamily == AF_INET || info.iAddressFamily == AF_INET6) &&
        (info.dwServiceFlags1 & XP1_IFS_HANDLES) == 0) {
      return false;
    }
  }
  return true;
}

// What the system says of itself to a driver; to a program it may pretend to be an older one.
uint32_t system_build() {
  using RtlGetVersionFunction = LONG(WINAPI*)(OSVERSIONINFOW*);
  const HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
  if (ntdll == nullptr) return 0;
  const auto get_version =
      reinterpret_cast<RtlGetVersionFunction>(reinterpret_cast<void*>(GetProcAddress(ntdll, "RtlGetVersion")));
  OSVERSIONINFOW version{};
  version.dwOSVersionInfoSize = sizeof(version);
  if (get_version == nullptr || get_version(&version) != 0) return 0;
  return version.dwBuildNumber;
}

}  // namespace

uint32_t load_extension_functions() {
  IOCP_FAULT_POINT(start_winsock);
  std::lock_guard<SrwLock> guard(g_lock);
  if (g_loaded) return 0;
  WSADATA data;
  const int started = WSAStartup(MAKEWORD(2, 2), &data);
  if (started != 0) return static_cast<uint32_t>(started);
  UniqueSocket socket(
      WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT));
  if (!socket) {  // a machine without IPv4
    socket = UniqueSocket(
        WSASocketW(AF_INET6, SOCK_STREAM, IPPROTO_TCP, nullptr, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT));
  }
  if (!socket) return static_cast<uint32_t>(WSAGetLastError());
  ExtensionFunctions functions;
  uint32_t error = look_up(socket.get(), WSAID_ACCEPTEX, &functions.accept_ex);
  if (error == 0) {
    error = look_up(socket.get(), WSAID_GETACCEPTEXSOCKADDRS, &functions.get_accept_ex_sockaddrs);
  }
  if (error == 0) error = look_up(socket.get(), WSAID_CONNECTEX, &functions.connect_ex);
  if (error == 0) {
    error = look_up(socket.get(), WSAID_TRANSMITFILE, &functions.transmit_file);
  }
  if (error != 0) return error;
  functions.ifs_handles = providers_have_ifs_handles();
  functions.can_send_one_syn = system_build() >= kWindows10Version1709;
  g_functions = functions;
  g_loaded = true;
  return 0;
}

const ExtensionFunctions& extension_functions() { return g_functions; }

}  // namespace iocp
