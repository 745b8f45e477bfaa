#include "core/transfer_protocol.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

using namespace iocp;

namespace {

const uint8_t* bytes_of(const std::string& text) { return reinterpret_cast<const uint8_t*>(text.data()); }

std::vector<uint8_t> encode(const TransferFrame& frame, size_t capacity = kTransferMaxControl) {
  std::vector<uint8_t> out(capacity);
  out.resize(encode_transfer(frame, out.data(), capacity));
  return out;
}

std::vector<TransferFrame> examples() {
  static const std::string name = "b\xc3\xa4r.txt";
  static const std::string rest = "some bytes";
  static const std::string hash(kTransferHash, 'h');
  std::vector<TransferFrame> all(8);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].kind = static_cast<TransferKind>(kTransferTypes + i);
    all[i].id = 0x01020304u + static_cast<uint32_t>(i);
  }
  const auto at = [&](TransferKind kind) -> TransferFrame& { return all[static_cast<size_t>(kind) - kTransferTypes]; };
  for (TransferKind kind : {TransferKind::offer, TransferKind::accept, TransferKind::start, TransferKind::done}) {
    at(kind).number = 0x0012345678abcdefull;
  }
  at(TransferKind::offer).name = bytes_of(name);
  at(TransferKind::offer).name_size = name.size();
  for (TransferKind kind : {TransferKind::offer, TransferKind::reject, TransferKind::abort}) {
    at(kind).rest = bytes_of(rest);
    at(kind).rest_size = rest.size();
  }
  at(TransferKind::offer).has_hash = true;
  for (TransferKind kind : {TransferKind::accept, TransferKind::done}) {
    at(kind).has_hash = true;
    at(kind).hash = bytes_of(hash);
  }
  at(TransferKind::reject).code = 7;
  at(TransferKind::abort).code = 65535;
  at(TransferKind::abort).side = 1;
  return all;
}

}  // namespace

TEST_CASE("transfer_protocol: what is encoded is decoded, and nothing less") {
  for (const TransferFrame& frame : examples()) {
    CAPTURE(static_cast<int>(frame.kind));
    std::vector<uint8_t> wire = encode(frame);
    REQUIRE_FALSE(wire.empty());
    std::string body = "x";
    if (frame.kind == TransferKind::chunk) wire.push_back('x');
    TransferFrame back;
    REQUIRE(decode_transfer(wire.data(), wire.size(), &back));
    CHECK(back.kind == frame.kind);
    CHECK(back.id == frame.id);
    CHECK(back.number == frame.number);
    CHECK(back.code == frame.code);
    CHECK(back.side == frame.side);
    CHECK(back.has_hash == frame.has_hash);
    CHECK(back.name_size == frame.name_size);
    if (frame.name_size != 0) CHECK(std::memcmp(back.name, frame.name, frame.name_size) == 0);
    if (frame.hash != nullptr) CHECK(std::memcmp(back.hash, frame.hash, kTransferHash) == 0);
    CHECK(back.rest_size == (frame.kind == TransferKind::chunk ? 1 : frame.rest_size));

    // No room for the last byte.
    if (frame.kind != TransferKind::chunk) CHECK(encode(frame, wire.size() - 1).empty());
    // Cut anywhere before its variable part it is refused. A copy of the exact size lets the address
    // sanitizer see an over-read.
    const size_t fixed = wire.size() - back.rest_size;
    for (size_t size = 0; size < fixed; ++size) {
      const std::vector<uint8_t> cut(wire.begin(), wire.begin() + static_cast<long>(size));
      CHECK_FALSE(decode_transfer(cut.data(), cut.size(), &back));
    }
  }
}

TEST_CASE("transfer_protocol: vectors") {
  TransferFrame frame;
  frame.kind = TransferKind::offer;
  frame.id = 1;
  frame.number = uint64_t{5} << 30;
  const std::string name = "a";
  frame.name = bytes_of(name);
  frame.name_size = 1;
  CHECK(encode(frame) == std::vector<uint8_t>{0xf0, 0, 0, 0, 1, 0, 0, 0, 1, 0x40, 0, 0, 0, 0, 0, 1, 'a'});
  frame = TransferFrame{};
  frame.kind = TransferKind::stored;
  frame.id = 0xfffffffe;
  CHECK(encode(frame) == std::vector<uint8_t>{0xf6, 0xff, 0xff, 0xff, 0xfe});
  frame.kind = TransferKind::chunk;
  CHECK(encode(frame) == std::vector<uint8_t>{0xf4, 0xff, 0xff, 0xff, 0xfe});
  CHECK(encode(frame).size() == kTransferChunkHeader);
}

TEST_CASE("transfer_protocol: impossible frames are refused on both sides") {
  TransferFrame back;
  const std::vector<uint8_t> other{0xef, 0, 0, 0, 1};
  CHECK_FALSE(decode_transfer(other.data(), other.size(), &back));
  const std::vector<uint8_t> empty_chunk{0xf4, 0, 0, 0, 1};
  CHECK_FALSE(decode_transfer(empty_chunk.data(), empty_chunk.size(), &back));
  const std::vector<uint8_t> long_stored{0xf6, 0, 0, 0, 1, 0};
  CHECK_FALSE(decode_transfer(long_stored.data(), long_stored.size(), &back));

  for (const TransferFrame& frame : examples()) {
    TransferFrame wrong = frame;
    wrong.number = kTransferMaxSize + 1;
    CHECK(encode(wrong).empty());
  }
  TransferFrame frame = examples()[0];
  const std::string longest(kTransferMaxMetadata + 1, 'm');
  frame.rest = bytes_of(longest);
  frame.rest_size = longest.size();
  CHECK(encode(frame, 1u << 20).empty());
  frame.rest_size = longest.size() - 1;
  CHECK_FALSE(encode(frame, 1u << 20).empty());
  frame.name = bytes_of(longest);
  frame.name_size = kTransferMaxName + 1;
  CHECK(encode(frame, 1u << 20).empty());
  std::vector<uint8_t> wire = encode(examples()[1]);
  wire[5] = 0xff;  // an offset beyond 2^53
  CHECK_FALSE(decode_transfer(wire.data(), wire.size(), &back));
  wire = encode(examples()[7]);
  wire[5] = 2;  // no such side
  CHECK_FALSE(decode_transfer(wire.data(), wire.size(), &back));
}

TEST_CASE("what IOCPS says about files is told from other packets by its form") {
  const auto is = [](std::vector<uint8_t> packet) { return is_iocps_file(packet.data(), packet.size()); };
  CHECK(is({1, 0, 0, 0, 0, 'a', 0}));
  CHECK(is({2}));
  CHECK(is({3}));
  CHECK_FALSE(is({}));
  CHECK_FALSE(is({0}));
  CHECK_FALSE(is({1}));
  CHECK_FALSE(is({4}));
  CHECK_FALSE(is({2, 0}));
  CHECK_FALSE(is({1, 0, 0, 0, 0, 0}));         // no name
  CHECK_FALSE(is({1, 0, 0, 0, 0, 'a', 'b'}));  // no NUL
  CHECK_FALSE(is({0, 0, 0, 0, 0, 'a', 0}));
}
