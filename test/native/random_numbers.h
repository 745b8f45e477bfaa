#pragma once
// The same numbers in every run.
#include <cstdint>
#include <random>

namespace iocp {

class RandomNumbers {
 public:
  explicit RandomNumbers(uint32_t seed) : engine_(seed) {}
  uint32_t operator()() { return static_cast<uint32_t>(engine_()); }
  uint64_t wide() { return uint64_t{(*this)()} << 32 | (*this)(); }

 private:
  std::mt19937 engine_;
};

}  // namespace iocp
