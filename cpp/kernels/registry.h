// Which kernel serves which level. kernels.def is the only list: one line a (family, table type, ISA).
#pragma once

#include <string>
#include <vector>

#include "core/isa.h"

namespace octavo {

// A kernel family `f` is a POD table of function pointers, `struct F`, in kernels/f/f.h, which also declares
// `extern const F f_scalar, f_avx2, ...;`. Each ISA file defines its own. This returns the table (a `const F*`) of the
// best level at or below `isa` and notes that it was used. kernels/f/f.h wraps it: `const F& f(Isa isa)`.
const void* find_kernel(const char* family, Isa isa);

struct KernelInfo {
  const char* family;
  Isa isa;
  bool exercised;  // some session or test of this process has bound it
};
std::vector<KernelInfo> kernel_list();

}  // namespace octavo
