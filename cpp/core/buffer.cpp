#include "core/buffer.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace octavo {
namespace {

std::atomic<size_t> held{0}, peak{0};
constexpr size_t kHugePage = size_t(2) << 20;

}  // namespace

Buffer::Buffer(size_t bytes, bool zero) {
  if (bytes > SIZE_MAX - kSlack - kHugePage) fail(ErrorKind::out_of_memory, "cannot allocate %zu bytes", bytes);
  // Large blocks are huge-page aligned: weight streaming gains about 5 % from fewer TLB misses.
  const size_t align = bytes >= kHugePage ? kHugePage : kAlign;
  data_ = std::aligned_alloc(align, align_up(bytes + kSlack, align));
  if (data_ == nullptr) fail(ErrorKind::out_of_memory, "cannot allocate %zu bytes", bytes);
  if (align == kHugePage) madvise(data_, align_up(bytes + kSlack, align), MADV_HUGEPAGE);
  size_ = bytes;
  std::memset(static_cast<char*>(data_) + bytes, 0, kSlack);
  if (zero) std::memset(data_, 0, bytes);
  const size_t now = held.fetch_add(bytes) + bytes;
  size_t most = peak.load();
  while (now > most && !peak.compare_exchange_weak(most, now)) {
  }
}

Buffer::~Buffer() {
  std::free(data_);
  held.fetch_sub(size_);
}

size_t bytes_held() { return held.load(); }
size_t bytes_peak() { return peak.load(); }

}  // namespace octavo
