// 64-byte aligned owned memory, with slack after the end so that vector loads may run over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace octavo {

constexpr size_t kAlign = 64;
constexpr size_t kSlack = 256;  // readable (not meaningful) bytes after the end of every buffer the core owns

constexpr size_t align_up(size_t n, size_t a = kAlign) { return (n + a - 1) / a * a; }

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes, bool zero = false);  // Error(out_of_memory) when it cannot be had
  ~Buffer();
  Buffer(Buffer&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    return *this;
  }
  void* data() const { return data_; }
  size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Where tensors without elements point: a null pointer would mean an absent one, and memcpy() takes none.
void* empty_data();

// Bytes the core holds now and the most it ever held (packed weights, arenas, scratch).
size_t bytes_held();
size_t bytes_peak();

// Buffers past this many bytes held at once are refused: systems that overcommit would hand out memory they do not have
// and kill the process on first use. The machine's physical memory or its cgroup's limit, whichever is less, read once.
size_t memory_limit();
void set_memory_limit(size_t bytes);  // 0: back to the machine's

}  // namespace octavo
