#pragma once
// Objects that count their users: the count, and a pointer that holds one.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace iocp {

// How many use an object. What has become 0 stays so.
class RefCount {
 public:
  explicit RefCount(uint32_t first = 1) : value_(first) {}
  RefCount(const RefCount&) = delete;
  RefCount& operator=(const RefCount&) = delete;

  // By somebody who holds one already.
  void add() { value_.fetch_add(1, std::memory_order_relaxed); }
  // False when the last one is already gone.
  bool try_add() {
    uint32_t value = value_.load(std::memory_order_relaxed);
    while (value != 0) {
      if (value_.compare_exchange_weak(value, value + 1, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  // True when it was the last one: the caller ends the object.
  bool drop() { return value_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  uint32_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> value_;
};

// One word, and one count for as long as it holds the object. T has add_ref() and release(); release() of the last
// count ends the object.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: as other pointers
  // Takes a count of its own.
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->add_ref();
  }
  // Takes the caller's count over.
  static Ref adopt(T* object) {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  // Empty when the last count of the object is already gone. T has try_add_ref().
  static Ref try_from(T* object) { return adopt(object->try_add_ref() ? object : nullptr); }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(other.detach()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->release();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  // Hands the count over: to an operation in the kernel, to a list of plain pointers.
  T* detach() { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

}  // namespace iocp
