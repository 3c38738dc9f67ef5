#include "core/isa.h"

#include <cstdlib>

#include "core/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)
#endif
#endif

namespace octavo {

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512vnni:
      return "avx512vnni";
    case Isa::neon:
      return "neon";
    case Isa::neon_dot:
      return "neon_dot";
    case Isa::neon_i8mm:
      return "neon_i8mm";
  }
  return "unknown";
}

#if defined(__x86_64__)
// OCTAVO_AVXVNNI (CMakeLists.txt): 0 not compiled in, 1 in its own encoding, 2 in that of AVX-512 VNNI, for tests.
static bool has_avxvnni() {
#if OCTAVO_AVXVNNI == 2
  return supported(Isa::avx512vnni);
#else
  unsigned a = 0, b = 0, c = 0, d = 0;
  return OCTAVO_AVXVNNI && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 4)) != 0;
#endif
}
#endif

bool supported(Isa isa) {
  if (isa == Isa::scalar) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  switch (isa) {
    case Isa::avx2:
      return avx2;
    case Isa::avxvnni:
      return avx2 && has_avxvnni();
    case Isa::avx512vnni:
      return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni");
    default:
      return false;
  }
#elif defined(__aarch64__)
  switch (isa) {
    case Isa::neon:
      return true;  // part of every ARMv8-A core
    case Isa::neon_dot:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
    case Isa::neon_i8mm:
      return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    default:
      return false;
  }
#else
  return false;
#endif
}

std::vector<Isa> compiled_isas() {
#if defined(__x86_64__)
#if OCTAVO_AVXVNNI
  return {Isa::scalar, Isa::avx2, Isa::avxvnni, Isa::avx512vnni};
#else
  return {Isa::scalar, Isa::avx2, Isa::avx512vnni};
#endif
#elif defined(__aarch64__)
  return {Isa::scalar, Isa::neon, Isa::neon_dot};
#else
  return {Isa::scalar};
#endif
}

Isa best_isa() {
  Isa best = Isa::scalar;
  for (Isa isa : compiled_isas())
    if (supported(isa)) best = isa;
  return best;
}

std::vector<Isa> fallback_chain(Isa isa) {
  switch (isa) {
    case Isa::avx512vnni:
      return {Isa::avx512vnni, Isa::avx2, Isa::scalar};
    case Isa::avxvnni:
      return {Isa::avxvnni, Isa::avx2, Isa::scalar};
    case Isa::avx2:
      return {Isa::avx2, Isa::scalar};
    case Isa::neon_i8mm:
      return {Isa::neon_i8mm, Isa::neon_dot, Isa::neon, Isa::scalar};
    case Isa::neon_dot:
      return {Isa::neon_dot, Isa::neon, Isa::scalar};
    case Isa::neon:
      return {Isa::neon, Isa::scalar};
    case Isa::scalar:
      break;
  }
  return {Isa::scalar};
}

Isa choose_isa(const std::string& requested) {
  std::string name = requested;
  if (name.empty()) {
    const char* env = std::getenv("OCTAVO_ISA");
    if (env == nullptr || *env == '\0') return best_isa();
    name = env;
  }
  std::string known;
  for (Isa isa : compiled_isas()) {
    if (name == name_of(isa)) {
      if (!supported(isa))
        fail(ErrorKind::unsupported, "ISA level '%s' was asked for, but this CPU lacks it; the best here is '%s'",
             name.c_str(), name_of(best_isa()));
      return isa;
    }
    known += known.empty() ? "" : ", ";
    known += name_of(isa);
  }
  fail(ErrorKind::invalid_argument, "unknown ISA level '%s'; this build has: %s", name.c_str(), known.c_str());
}

}  // namespace octavo
