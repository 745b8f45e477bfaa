#include "core/error_table.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

using namespace iocp;

TEST_CASE("error_table: numbers have the names that Node shows") {
  CHECK(std::string(error_info(10054).name) == "ECONNRESET");
  CHECK(std::string(error_info(10048).name) == "EADDRINUSE");
  CHECK(std::string(error_info(10013).name) == "EACCES");
  CHECK(std::string(error_info(10061).name) == "ECONNREFUSED");
  CHECK(std::string(error_info(10055).name) == "ENOBUFS");
  CHECK(std::string(error_info(10024).name) == "EMFILE");
  CHECK(std::string(error_info(121).name) == "ETIMEDOUT");
  CHECK(std::string(error_info(995).name) == "ECANCELED");
  CHECK(std::string(error_info(2).name) == "ENOENT");
  CHECK(std::string(error_info(112).name) == "ENOSPC");
  CHECK(std::string(error_info(38).name) == "EOF");
}

TEST_CASE("error_table: first and last row are found, neighbours of rows are not") {
  CHECK(error_info(1).code == 1);
  CHECK(error_info(11004).code == 11004);
  CHECK(error_info(11005).code == 0);
  CHECK(error_info(10059).code == 0);
}

TEST_CASE("error_table: an unknown number has an entry too") {
  for (uint32_t code : {0u, 7u, 99999u, 0xFFFFFFFFu}) {
    CHECK(std::string(error_info(code).name) == "UNKNOWN");
    CHECK(std::strlen(error_info(code).message) > 10);
  }
}

TEST_CASE("error_table: every row is one sentence without an end mark") {
  for (uint32_t code = 0; code < 12000; ++code) {
    const ErrorInfo& info = error_info(code);
    if (info.code == 0) continue;
    const std::string message = info.message;
    CAPTURE(code);
    CHECK(info.code == code);
    CHECK(info.name[0] == 'E');
    CHECK(message.size() > 10);
    CHECK(message.back() != '.');
  }
}

TEST_CASE("error_table: the status of a completion becomes a Winsock number") {
  CHECK(winsock_error_from_ntstatus(0) == 0);
  CHECK(winsock_error_from_ntstatus(0x103) == kErrorIoPending);
  CHECK(winsock_error_from_ntstatus(0xC000020D) == kWsaEconnreset);
  CHECK(winsock_error_from_ntstatus(0xC000013C) == kWsaEconnreset);
  CHECK(winsock_error_from_ntstatus(0xC000013B) == kWsaEconnaborted);
  CHECK(winsock_error_from_ntstatus(0xC0000120) == kErrorOperationAborted);
  CHECK(winsock_error_from_ntstatus(0xC00000B5) == kWsaEtimedout);
  CHECK(winsock_error_from_ntstatus(0xC0000236) == kWsaEconnrefused);
  CHECK(winsock_error_from_ntstatus(0xC0000241) == kWsaEconnaborted);
  CHECK(winsock_error_from_ntstatus(0xC000023C) == 10051);
  CHECK(winsock_error_from_ntstatus(0xC000023D) == 10065);
  CHECK(winsock_error_from_ntstatus(0xC000009A) == kWsaEnobufs);
  CHECK(winsock_error_from_ntstatus(0xC0000007) == kWsaEnobufs);
  CHECK(winsock_error_from_ntstatus(0xC00000A1) == kWsaEnobufs);
}

TEST_CASE("error_table: a Win32 number wrapped in a status comes out again") {
  CHECK(winsock_error_from_ntstatus(0xC0070040) == kErrorNetnameDeleted);
  CHECK(winsock_error_from_ntstatus(0x80072746) == kWsaEconnreset);
}

TEST_CASE("error_table: success with information is success, an unknown failure is not") {
  CHECK(winsock_error_from_ntstatus(0x4000000F) == 0);
  CHECK(winsock_error_from_ntstatus(0x00000101) == 0);
  CHECK(winsock_error_from_ntstatus(0xC0000001) == 10022);
}

TEST_CASE("error_table: every Winsock number that a status gives has a name") {
  for (uint32_t severity : {0x80000000u, 0xC0000000u}) {
    for (uint32_t low = 0; low < 0x10000; ++low) {
      const uint32_t code = winsock_error_from_ntstatus(severity | low);
      CHECK_MESSAGE(error_info(code).code == code, (severity | low), " -> ", code);
    }
  }
}

TEST_CASE("error_table: a deleted network name is ambiguous until the local close flag decides") {
  for (uint32_t code : {64u, 995u, 1236u, 10053u, 10054u}) {
    CHECK(established_connection_error(code, false) == kWsaEconnreset);
    CHECK(established_connection_error(code, true) == kErrorOperationAborted);
  }
  CHECK(established_connection_error(kWsaEtimedout, false) == kWsaEtimedout);
  CHECK(established_connection_error(kWsaEnobufs, true) == kWsaEnobufs);
}

TEST_CASE("error_table: a shortage is worth another try, a reset is not") {
  CHECK(is_resource_shortage(kWsaEnobufs));
  CHECK(is_resource_shortage(kWsaEmfile));
  CHECK(is_resource_shortage(1450));
  CHECK_FALSE(is_resource_shortage(kWsaEconnreset));
  CHECK_FALSE(is_resource_shortage(0));
}
