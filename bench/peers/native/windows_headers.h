#pragma once
// The only includer of Windows headers in the benchmark's servers.
#include <mswsock.h>
#include <windows.h>
#include <winsock2.h>
#include <ws2tcpip.h>

#include <psapi.h>
