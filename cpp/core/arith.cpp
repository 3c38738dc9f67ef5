#include "core/arith.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace octavo {

// x86: MXCSR bits 13-14 rounding, 15 flush-to-zero, 6 denormals-are-zero. aarch64: FPCR bits 22-23 rounding, 24 FZ, 19
// FZ16.
FpScope::FpScope() {
#if defined(__x86_64__)
  const unsigned csr = _mm_getcsr();
  saved_ = csr;
  const unsigned wanted = csr & ~0xE040u;
  if (wanted != csr) _mm_setcsr(wanted);
#elif defined(__aarch64__)
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  const uint64_t wanted = saved_ & ~((3ull << 22) | (1ull << 24) | (1ull << 19));
  if (wanted != saved_) asm volatile("msr fpcr, %0" : : "r"(wanted));
#endif
}

FpScope::~FpScope() {
#if defined(__x86_64__)
  const unsigned keep_flags = _mm_getcsr() & 0x3Fu;
  _mm_setcsr((unsigned(saved_) & ~0x3Fu) | keep_flags);
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(saved_));
#endif
}

}  // namespace octavo
