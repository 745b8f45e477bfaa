#pragma once
#include <cstddef>
#include <cstdint>

#include "win/sys/win.h"

namespace iocp {

// A running SHA-256 by the system's own provider. One thread at a time.
class Sha256 {
 public:
  static constexpr size_t kSize = 32;

  Sha256() = default;
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  // Begins, or begins anew. False when the system has no provider.
  bool start();
  void update(const uint8_t* data, size_t size);
  // Of what has come so far; more may follow.
  bool digest(uint8_t out[kSize]) const;

 private:
  void stop();
  BCRYPT_ALG_HANDLE algorithm_ = nullptr;
  BCRYPT_HASH_HANDLE hash_ = nullptr;
};

}  // namespace iocp
