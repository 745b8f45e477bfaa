#include "peers/cpp/server.h"
#include "peers/native/control.h"

int main(int count, char** words) {
  WSADATA data;
  if (WSAStartup(MAKEWORD(2, 2), &data) != 0) return 1;
  bench::Server server(bench::read_options(count, words));
  const uint16_t port = server.listen();
  if (port == 0) return 1;
  bench::start_control(port);
  server.run();
  return 1;
}
