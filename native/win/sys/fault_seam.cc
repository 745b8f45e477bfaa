#include "win/sys/fault_seam.h"

#ifdef IOCP_FAULT_SEAM
#include <mutex>

#include "win/sys/srw_lock.h"

namespace iocp {
namespace fault {
namespace {

constexpr uint32_t kStatusCancelled = 0xC0000120;

struct Slot {
  Rule rule;
  bool active = false;
  uint32_t seen = 0;
  uint32_t hit = 0;
};

// Constant-initialised and trivially destructible: I/O threads may still ask while the process exits.
SrwLock g_lock;
Slot g_slots[static_cast<uint32_t>(Call::count)];
struct Kept {
  void* operation = nullptr;
  uint32_t status = 0;
};
Kept g_kept[64];
uint32_t g_random = 0x9e3779b9u;

uint32_t next_random() {
  g_random ^= g_random << 13;
  g_random ^= g_random >> 17;
  g_random ^= g_random << 5;
  return g_random;
}

bool hit(Slot& slot) {
  if (!slot.active) return false;
  const uint32_t index = slot.seen++;
  if (index < slot.rule.skip) return false;
  if (slot.rule.count != 0 && slot.hit >= slot.rule.count) return false;
  if (next_random() % 1000 >= slot.rule.per_mille) return false;
  ++slot.hit;
  return true;
}

Slot& slot_of(Call call) { return g_slots[static_cast<uint32_t>(call)]; }

}  // namespace

const char* call_name(Call call) {
  static const char* const names[] = {
#define IOCP_FAULT_NAME(name) #name,
      IOCP_FAULT_CALLS(IOCP_FAULT_NAME)
#undef IOCP_FAULT_NAME
  };
  return names[static_cast<uint32_t>(call)];
}

void set_rule(Call call, const Rule& rule) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  slot = Slot{};
  slot.rule = rule;
  slot.active = true;
}

void clear_rules() {
  std::lock_guard<SrwLock> guard(g_lock);
  for (Slot& slot : g_slots) slot.active = false;
}

void set_seed(uint32_t seed) {
  std::lock_guard<SrwLock> guard(g_lock);
  g_random = seed == 0 ? 1 : seed;
}

uint32_t hits(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  return slot_of(call).hit;
}

bool passes(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  if (slot.rule.error == 0 || !hit(slot)) return true;
  WSASetLastError(static_cast<int>(slot.rule.error));
  return false;
}

bool pretends(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  return slot.rule.pretend && hit(slot);
}

bool fails_later(Call call, OVERLAPPED* operation) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  if (slot.rule.status == 0 || !hit(slot)) return false;
  operation->Internal = slot.rule.status;
  return true;
}

ULONG shorten(Call call, ULONG size) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  if (!slot.active || slot.rule.short_to == 0 || size <= slot.rule.short_to) return size;
  if (slot.rule.error == 0 && slot.rule.status == 0 && !hit(slot)) return size;
  return slot.rule.short_to;
}

bool has_delay(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  return slot_of(call).rule.delay_ms != 0;
}

uint32_t block(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  return slot.rule.block_ms != 0 && hit(slot) ? slot.rule.block_ms : 0;
}

bool keeps(Call call, void* operation) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  if (!slot.rule.keep || !hit(slot)) return false;
  for (Kept& kept : g_kept) {
    if (kept.operation != nullptr) continue;
    kept = {operation, slot.rule.late ? 0 : kStatusCancelled};
    return true;
  }
  return false;
}

bool gives_back(void* operation, uint32_t* status) {
  std::lock_guard<SrwLock> guard(g_lock);
  for (Kept& kept : g_kept) {
    if (kept.operation != operation) continue;
    *status = kept.status;
    kept = {};
    return true;
  }
  return false;
}

uint32_t delay(Call call) {
  std::lock_guard<SrwLock> guard(g_lock);
  Slot& slot = slot_of(call);
  if (slot.rule.delay_ms == 0 || !hit(slot)) return 0;
  return next_random() % (slot.rule.delay_ms + 1);
}

}  // namespace fault
}  // namespace iocp
#endif
