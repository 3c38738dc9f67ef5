// The stem kernel against the scalar product of the same convolution, with ==.
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/gemm_s8/stem_driver.h"

using namespace octavo;

namespace {

struct Random {
  uint64_t s = 88172645463325252u;
  uint64_t operator()() {
    s ^= s << 13, s ^= s >> 7, s ^= s << 17;
    return s;
  }
  int64_t in(int64_t lo, int64_t hi) { return lo + int64_t((*this)() % uint64_t(hi - lo + 1)); }
};

int failures = 0, served = 0;

struct Case {
  int64_t channels, size, stride, n, height, width, images, pitch;
  bool wide, tame;  // s16 weights within s8; factors for which the packs' saturation is proven enough
  int zp, lo, hi, threads;
};

void run_case(const Case& c, Random& r) {
  const int64_t patch = c.size * c.size * c.channels;
  std::vector<int8_t> w8(size_t(c.n * patch));
  for (auto& v : w8) v = int8_t(r.in(0, 3) ? r() : r.in(0, 1) ? 127 : -128);
  std::vector<int16_t> w16(w8.begin(), w8.end());
  std::vector<int32_t> bias(static_cast<size_t>(c.n));
  for (auto& v : bias) v = int32_t(c.tame ? r.in(-20000, 20000) : r.in(INT32_MIN, INT32_MAX));
  std::vector<float> m(static_cast<size_t>(c.n));
  for (auto& v : m) v = c.tame ? float(r.in(-100, 1000)) * 1e-6f : r.in(0, 1) ? 3e38f : float(r.in(-1000, 1000));
  GemmS8Weights w;
  w.w = c.wide ? static_cast<const void*>(w16.data()) : w8.data();
  w.dtype = c.wide ? DType::s16 : DType::s8;
  w.n = c.n, w.segments = c.size, w.segment_length = c.size * c.channels;
  w.bias = bias.data(), w.m = m.data();
  const GemmS8Packed packed(find_gemm_s8(Isa::avx512vnni), w), plain(find_gemm_s8(Isa::scalar), w);
  const StemPacked stem(packed, w, c.stride * c.channels);
  if (stem.empty()) return;
  served++;
  // Exactly the bytes that the convolution touches, so that a sanitizer sees one too many; but for the three behind the
  // last, which the scalar product multiplies by zeros.
  const int64_t row = ((c.width - 1) * c.stride + c.size) * c.channels;
  const int64_t image = ((c.height - 1) * c.stride + c.size) * row;
  std::vector<uint8_t> exact(static_cast<size_t>(c.images * image));
  for (auto& v : exact) v = uint8_t(r.in(0, 3) ? r() : 255 * r.in(0, 1));
  std::vector<uint8_t> loose = exact;
  loose.resize(exact.size() + 3);
  const size_t size = size_t(c.images * c.height * c.width * c.pitch);
  std::vector<uint8_t> want(size, 77), got(size, 77);
  GemmS8Job job;
  job.in = {c.images * c.height, c.height, c.width, c.stride * c.channels, c.stride * row, image};
  job.out.row = c.pitch, job.out.line = c.width * c.pitch, job.out.image = c.height * job.out.line;
  job.outer = int32_t(c.size), job.segment_outer = row;
  job.epilogue.zp = c.zp, job.epilogue.lo = c.lo, job.epilogue.hi = c.hi;
  Region pool(c.threads);
  job.b = &plain, job.a = loose.data(), job.c = want.data();
  gemm_s8(pool, job);
  // What CPUs with AVX-512 but without byte permutes run.
  std::vector<uint8_t> without(size, 77);
  job.b = &packed, job.c = without.data();
  gemm_s8(pool, job);
  job.a = exact.data(), job.c = got.data();
  pool.clear_spread();
  stem.run(pool, job);
  // One line is work for several threads, too.
  const bool alone = c.threads > 1 && c.width >= 1000 && pool.threads() > 1 && pool.spread() < 2;
  if (want == got && want == without && !alone) return;
  std::printf("FAIL %s%s%s: %lldx%lldx%lld stride %lld, %lld outputs, %lldx%lld, pitch %lld, [%d, %d], tame %d\n",
              want == got ? "" : "stem", want == without ? "" : "gemm", alone ? "one thread" : "", (long long)c.size,
              (long long)c.size, (long long)c.channels, (long long)c.stride, (long long)c.n, (long long)c.height,
              (long long)c.width, (long long)c.pitch, c.lo, c.hi, c.tame);
  failures++;
}

// Where half of gemm_s8's lanes would be empty, or where groups are saved and all vectors are full.
void check_serves() {
  const auto check = [](int64_t channels, int64_t size, int64_t n, int64_t pixels, bool wanted) {
    const std::vector<int8_t> weights(size_t(n * size * size * channels), 1);
    const std::vector<float> m(size_t(n), 1e-3f);
    GemmS8Weights w;
    w.w = weights.data(), w.n = n, w.segments = size, w.segment_length = size * channels, w.m = m.data();
    const StemPacked stem(GemmS8Packed(find_gemm_s8(Isa::avx512vnni), w), w, channels);
    if (stem.empty() || stem.serves(pixels) == wanted) return;  // empty: this CPU has none
    std::printf("FAIL serves(%lld) of %lldx%lldx%lld, %lld outputs\n", (long long)pixels, (long long)size,
                (long long)size, (long long)channels, (long long)n);
    failures++;
  };
  check(3, 3, 8, 112, true), check(1, 3, 8, 28, true), check(3, 3, 8, 12, false);
  check(3, 3, 32, 112, true), check(3, 3, 32, 28, false), check(3, 3, 24, 112, false);
  check(1, 3, 64, 112, false), check(6, 5, 128, 112, false);
}

}  // namespace

int main() {
  Random r;
  check_serves();
  const auto some = [&](int64_t channels, int64_t size, int64_t stride, int64_t n, int64_t width) {
    Case c = {channels,
              size,
              stride,
              n,
              r.in(1, 4),
              width,
              r.in(1, 2),
              n + (r.in(0, 1) ? 0 : r.in(1, 9)),
              r.in(0, 1) != 0,
              r.in(0, 2) != 0,
              int(r.in(0, 255)),
              0,
              255,
              int(r.in(1, 2))};
    if (r.in(0, 1)) c.lo = int(r.in(0, 255)), c.hi = int(r.in(c.lo, 255));
    run_case(c, r);
  };
  for (int64_t n : {1, 7, 8, 9, 15, 16, 17, 24, 25, 32, 40, 64})
    for (int64_t width : {12, 15, 16, 28, 29, 31, 32, 47, 48, 112}) some(3, 3, r.in(1, 2), n, width);
  for (int64_t channels : {1, 2, 3, 5, 6})
    for (int64_t size : {2, 3, 4, 5, 6, 7})
      for (int64_t stride : {1, 2, 3, 4}) some(channels, size, stride, r.in(1, 40), r.in(12, 70));
  for (int64_t width : {999, 1000, 1007, 4001})  // signals
    run_case({1, 5, 2, 40, 1, width, 1, 40, false, true, 3, 0, 255, 2}, r);
  std::printf("%d cases served\n", served);
  if (failures) std::printf("%d failures\n", failures);
#if defined(__x86_64__)
  if (supported(Isa::avx512vnni) && __builtin_cpu_supports("avx512vbmi") && served < 100) return 1;
#endif
  return failures != 0;
}
