#include "win/sys/sha256.h"

#include "win/sys/fault_seam.h"

namespace iocp {

Sha256::~Sha256() { stop(); }

void Sha256::stop() {
  if (hash_ != nullptr) (void)BCryptDestroyHash(hash_);
  if (algorithm_ != nullptr) (void)BCryptCloseAlgorithmProvider(algorithm_, 0);
  hash_ = nullptr;
  algorithm_ = nullptr;
}

bool Sha256::start() {
  stop();
  IOCP_FAULT_POINT_OR(hash, false);
  if (BCryptOpenAlgorithmProvider(&algorithm_, BCRYPT_SHA256_ALGORITHM, nullptr, 0) != 0) {
    algorithm_ = nullptr;
    return false;
  }
  if (BCryptCreateHash(algorithm_, &hash_, nullptr, 0, nullptr, 0, 0) != 0) {
    hash_ = nullptr;
    return false;
  }
  return true;
}

void Sha256::update(const uint8_t* data, size_t size) {
  while (size != 0) {
    const ULONG some = size > 0x40000000u ? 0x40000000u : static_cast<ULONG>(size);
    (void)BCryptHashData(hash_, const_cast<PUCHAR>(data), some, 0);
    data += some;
    size -= some;
  }
}

bool Sha256::digest(uint8_t out[kSize]) const {
  BCRYPT_HASH_HANDLE copy = nullptr;
  if (hash_ == nullptr || BCryptDuplicateHash(hash_, &copy, nullptr, 0, 0) != 0) return false;
  const bool ok = BCryptFinishHash(copy, out, kSize, 0) == 0;
  (void)BCryptDestroyHash(copy);
  return ok;
}

}  // namespace iocp
