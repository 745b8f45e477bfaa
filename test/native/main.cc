// One program of all of test/native and native/core:
//   g++ -std=c++17 -Inative -pthread test/native/*.cc native/core/*.cc native/core/*/*.cc
// with -fsanitize=address,undefined or -fsanitize=thread; no other flags are needed. The cases with
// "stress" in their names are multi-threaded and meant for ThreadSanitizer, which refuses to start
// where the kernel randomises addresses too widely; `setarch -R ./a.out` helps then.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
