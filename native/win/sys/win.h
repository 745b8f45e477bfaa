#pragma once
// The only file that includes Windows headers. The order matters: winsock2.h before windows.h.
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
// mswsock.h needs the two above.
#include <mstcpip.h>
#include <mswsock.h>
#include <windows.h>
// SHA-256.
#include <bcrypt.h>
// _beginthreadex: CreateThread does not set the C run time up.
#include <process.h>

// Winsock's reference gives these values; older SDKs lack the names.
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT 16
#endif
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE 3
#endif
#ifndef TCP_KEEPINTVL
#define TCP_KEEPINTVL 17
#endif
#ifndef SO_REUSE_UNICASTPORT
#define SO_REUSE_UNICASTPORT 0x3007
#endif
