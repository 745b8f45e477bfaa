#pragma once
// How the engine's own threads are started and named.
#include <cstdint>

#include "win/sys/handles.h"
#include "win/sys/win.h"

namespace iocp {

// Empty when the system has no further thread.
UniqueHandle start_thread(unsigned(__stdcall* entry)(void*), void* argument, unsigned* id = nullptr);
// What debuggers, profilers and crash dumps show: `kind` and the number from 1 on. Since Windows 10 1607; on other
// systems threads have no names.
void name_this_thread(const wchar_t* kind, uint32_t index);

}  // namespace iocp
