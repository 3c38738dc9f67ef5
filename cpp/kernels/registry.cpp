#include "kernels/registry.h"

#include <atomic>
#include <cstring>

#include "core/error.h"

// Lines of kernels.def for other architectures vanish here.
#if defined(__x86_64__)
#define OCTAVO_ON_scalar(x) x
#define OCTAVO_ON_avx2(x) x
#if OCTAVO_AVXVNNI
#define OCTAVO_ON_avxvnni(x) x
#else
#define OCTAVO_ON_avxvnni(x)
#endif
#define OCTAVO_ON_avx512vnni(x) x
#define OCTAVO_ON_neon(x)
#define OCTAVO_ON_neon_dot(x)
#define OCTAVO_ON_neon_i8mm(x)
#elif defined(__aarch64__)
#define OCTAVO_ON_scalar(x) x
#define OCTAVO_ON_avx2(x)
#define OCTAVO_ON_avxvnni(x)
#define OCTAVO_ON_avx512vnni(x)
#define OCTAVO_ON_neon(x) x
#define OCTAVO_ON_neon_dot(x) x
#define OCTAVO_ON_neon_i8mm(x)
#else
#define OCTAVO_ON_scalar(x) x
#define OCTAVO_ON_avx2(x)
#define OCTAVO_ON_avxvnni(x)
#define OCTAVO_ON_avx512vnni(x)
#define OCTAVO_ON_neon(x)
#define OCTAVO_ON_neon_dot(x)
#define OCTAVO_ON_neon_i8mm(x)
#endif

namespace octavo {

// Only addresses are taken, so the table types stay incomplete here and this file needs no family's header.
#define OCTAVO_KERNEL(family, Table, isa) \
  struct Table;                           \
  OCTAVO_ON_##isa(extern const Table family##_##isa;)
#include "kernels/kernels.def"
#undef OCTAVO_KERNEL

namespace {

struct Entry {
  const char* family;
  Isa isa;
  const void* table;
};

#define OCTAVO_KERNEL(family, Table, isa) \
  OCTAVO_ON_##isa(Entry{#family OCTAVO_COMMA Isa::isa OCTAVO_COMMA & family##_##isa} OCTAVO_COMMA)
#define OCTAVO_COMMA ,
const Entry kEntries[] = {
#include "kernels/kernels.def"
    Entry{nullptr, Isa::scalar, nullptr},
};
#undef OCTAVO_KERNEL

constexpr size_t kCount = sizeof kEntries / sizeof kEntries[0] - 1;
std::atomic<bool> exercised[kCount + 1];

}  // namespace

const void* find_kernel(const char* family, Isa isa) {
  for (Isa level : fallback_chain(isa)) {
    if (!supported(level)) continue;
    for (size_t k = 0; k < kCount; k++) {
      if (kEntries[k].isa != level || std::strcmp(kEntries[k].family, family) != 0) continue;
      exercised[k].store(true, std::memory_order_relaxed);
      return kEntries[k].table;
    }
  }
  fail(ErrorKind::internal, "no kernel of family '%s' was compiled in, not even the scalar one", family);
}

std::vector<KernelInfo> kernel_list() {
  std::vector<KernelInfo> list;
  for (size_t k = 0; k < kCount; k++)
    list.push_back({kEntries[k].family, kEntries[k].isa, exercised[k].load(std::memory_order_relaxed)});
  return list;
}

}  // namespace octavo
