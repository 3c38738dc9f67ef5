#include "core/peak.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/thread_pool.h"

// Register names are written out, so that the compiler can neither reorder nor drop anything; each block runs twelve
// independent chains, more than latency times throughput of any of these instructions.
#define TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)

namespace octavo {
namespace {

using Loop = void (*)(int64_t rounds);

#if defined(__x86_64__)

#define CLOBBERS                                                                                                   \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15"
#define LOOP(name, setup, body)                                                                   \
  void name(int64_t rounds) {                                                                     \
    asm volatile(setup "1:\n" body "dec %0\n jnz 1b\n vzeroupper\n" : "+r"(rounds) : : CLOBBERS); \
  }

// Zeros all around: the speed of these instructions does not depend on their operands.
#define ZERO_Y(k) "vpxor %%ymm" #k ", %%ymm" #k ", %%ymm" #k "\n"
#define ZERO_ALL TWELVE(ZERO_Y) ZERO_Y(12) ZERO_Y(13) ZERO_Y(14) ZERO_Y(15)

#define DPBUSD(k) "vpdpbusd %%zmm14, %%zmm15, %%zmm" #k "\n"
#define DPBUSD_Y(k) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #k "\n"
#define FMA_Z(k) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" #k "\n"
#define FMA_Y(k) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #k "\n"
#define MADDWD(k) "vpmaddwd %%ymm14, %%ymm15, %%ymm12\n vpaddd %%ymm12, %%ymm" #k ", %%ymm" #k "\n"

LOOP(dpbusd_512, ZERO_ALL, TWELVE(DPBUSD))
#if OCTAVO_AVXVNNI == 1
LOOP(dpbusd_256, ZERO_ALL, TWELVE(DPBUSD_Y))
#endif
LOOP(fma_512, ZERO_ALL, TWELVE(FMA_Z))
LOOP(fma_256, ZERO_ALL, TWELVE(FMA_Y))
LOOP(maddwd_256, ZERO_ALL, TWELVE(MADDWD))

#elif defined(__aarch64__)

#define CLOBBERS \
  "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15"
#define LOOP(name, setup, body)                                                                \
  void name(int64_t rounds) {                                                                  \
    asm volatile(setup "1:\n" body "subs %0, %0, #1\n b.ne 1b\n" : "+r"(rounds) : : CLOBBERS); \
  }
#define ZERO_V(k) "movi v" #k ".16b, #0\n"
#define ZERO_ALL TWELVE(ZERO_V) ZERO_V(14) ZERO_V(15)
#define SDOT(k) "sdot v" #k ".4s, v14.16b, v15.16b\n"
#define SMLAL(k) "smlal v" #k ".8h, v14.8b, v15.8b\n"
#define FMLA(k) "fmla v" #k ".4s, v14.4s, v15.4s\n"

LOOP(sdot_128, ".arch armv8.2-a+dotprod\n" ZERO_ALL, TWELVE(SDOT) ".arch armv8-a\n")
LOOP(smlal_64, ZERO_ALL, TWELVE(SMLAL))
LOOP(fmla_128, ZERO_ALL, TWELVE(FMLA))

#endif

// The best of several short bursts on all threads at once.
double gmacs(Loop loop, double macs_a_round, int threads) {
  double best = 0;
  int64_t rounds = 20000;
  for (int burst = 0; burst < 30;) {
    Region pool(threads);  // anew for each burst, so that one unlucky placement of a thread does not spoil them all
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pool.threads(), [&](int64_t, int) { loop(rounds); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (seconds < 0.004) {  // too short to trust the clock and the joining of threads
      rounds *= 2;
      continue;
    }
    best = std::max(best, macs_a_round * double(rounds) * pool.threads() / seconds * 1e-9);
    burst++;
  }
  return best;
}

}  // namespace

Peak int8_peak(Isa isa, int threads) {
#if defined(__x86_64__)
  if (isa == Isa::avx512vnni) return {"vpdpbusd zmm", gmacs(dpbusd_512, 12 * 64, threads)};
#if OCTAVO_AVXVNNI == 1
  if (isa == Isa::avxvnni) return {"vpdpbusd ymm", gmacs(dpbusd_256, 12 * 32, threads)};
#endif
  if (isa == Isa::avx2) return {"vpmaddwd + vpaddd ymm", gmacs(maddwd_256, 12 * 16, threads)};
#elif defined(__aarch64__)
  if (isa == Isa::neon_dot) return {"sdot", gmacs(sdot_128, 12 * 16, threads)};
  if (isa == Isa::neon) return {"smlal 8x8 bit", gmacs(smlal_64, 12 * 8, threads)};
#endif
  (void)isa, (void)threads;
  return {};
}

Peak float_peak(Isa isa, int threads) {
#if defined(__x86_64__)
  if (isa == Isa::avx512vnni) return {"vfmadd231ps zmm", gmacs(fma_512, 12 * 16, threads)};
  if (isa == Isa::avx2 || isa == Isa::avxvnni) return {"vfmadd231ps ymm", gmacs(fma_256, 12 * 8, threads)};
#elif defined(__aarch64__)
  if (isa == Isa::neon || isa == Isa::neon_dot) return {"fmla", gmacs(fmla_128, 12 * 4, threads)};
#endif
  (void)isa, (void)threads;
  return {};
}

}  // namespace octavo
