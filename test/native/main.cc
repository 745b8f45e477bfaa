// Build and run (no other flags are needed):
//   g++ -std=c++17 -Inative -fsanitize=address,undefined test/native/*.cc native/core/**/*.cc -pthread
// The multi-threaded cases are meant for -fsanitize=thread. On kernels with a wide address space
// randomisation ThreadSanitizer may refuse to start; `setarch -R ./native-tests` helps then.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
