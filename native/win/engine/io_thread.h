#pragma once
#include <cstdint>

#include "win/sys/handles.h"

namespace iocp {

class Engine;

// Dequeues packets from the engine's port until it gets a quit packet.
class IoThread final {
 public:
  // Packets per dequeue. More would keep work from idle threads.
  static constexpr uint32_t kBatch = 32;

  IoThread(Engine* engine, uint32_t index) : engine_(engine), index_(index) {}
  ~IoThread() { join(); }
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  bool start();
  void join();

 private:
  static unsigned __stdcall entry(void* self);
  void run();

  Engine* const engine_;
  const uint32_t index_;
  UniqueHandle thread_;
};

}  // namespace iocp
