#include "core/buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace octavo {
namespace {

std::atomic<size_t> held{0}, peak{0};
constexpr size_t kHugePage = size_t(2) << 20;
std::atomic<size_t> chosen_limit{0};

size_t machine_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  size_t limit = pages > 0 && page > 0 ? size_t(pages) * size_t(page) : SIZE_MAX / 2;
  if (FILE* f = std::fopen("/sys/fs/cgroup/memory.max", "r")) {
    unsigned long long most = 0;  // the file says "max" where there is no limit
    if (std::fscanf(f, "%llu", &most) == 1 && most > 0) limit = std::min(limit, size_t(most));
    std::fclose(f);
  }
  return limit;
}

}  // namespace

size_t memory_limit() {
  static const size_t machine = machine_memory();
  const size_t chosen = chosen_limit.load(std::memory_order_relaxed);
  return chosen != 0 ? chosen : machine;
}

void set_memory_limit(size_t bytes) { chosen_limit.store(bytes, std::memory_order_relaxed); }

Buffer::Buffer(size_t bytes, bool zero) {
  const size_t limit = memory_limit(), taken = std::min(held.load(std::memory_order_relaxed), limit);
  // The slack counts, too: of many small buffers it is most of the memory.
  if (bytes > SIZE_MAX - kSlack - kHugePage || bytes + kSlack > limit - taken)
    fail(ErrorKind::out_of_memory,
         "cannot allocate %zu bytes: %zu are in use and the limit (this machine's memory) is %zu; use smaller inputs",
         bytes, taken, limit);
  // Large blocks are huge-page aligned: weight streaming gains about 5 % from fewer TLB misses.
  const size_t align = bytes >= kHugePage ? kHugePage : kAlign;
  data_ = std::aligned_alloc(align, align_up(bytes + kSlack, align));
  if (data_ == nullptr) fail(ErrorKind::out_of_memory, "cannot allocate %zu bytes", bytes);
  // Whole huge pages only: a last one, touched in part, would take 2 MiB all the same.
  if (align == kHugePage) madvise(data_, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  size_ = bytes;
  std::memset(static_cast<char*>(data_) + bytes, 0, kSlack);
  if (zero) std::memset(data_, 0, bytes);
  const size_t now = held.fetch_add(bytes + kSlack) + bytes + kSlack;
  size_t most = peak.load();
  while (now > most && !peak.compare_exchange_weak(most, now)) {
  }
}

Buffer::~Buffer() {
  std::free(data_);
  if (data_ != nullptr) held.fetch_sub(size_ + kSlack);
}

void* empty_data() {
  alignas(kAlign) static char nothing[kSlack] = {};
  return nothing;
}

size_t bytes_held() { return held.load(); }
size_t bytes_peak() { return peak.load(); }

}  // namespace octavo
