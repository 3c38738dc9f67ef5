#include "kernels/simd/lanes16.inl"

OCTAVO_INLINE float add1(float a, float b) { return a + b; }

void layernorm_row(const float* x, const float* scale, const float* bias, float* y, int64_t n, float epsilon) {
  if (n <= 0) return;
  float lane[16];
  for (float& l : lane) l = 0.0f;
  accumulate16(lane, x, n, [](vf a, vf b) __attribute__((always_inline)) { return vadd(a, b); });
  const vf mean = vset(tree16(lane, add1) / float(n));
  for (float& l : lane) l = 0.0f;
  accumulate16(lane, x, n, [&](vf a, vf b) __attribute__((always_inline)) {
    const vf d = vsub(b, mean);
    return vadd(a, vmul(d, d));
  });
  const vf deviation = vset(__builtin_sqrtf(tree16(lane, add1) / float(n) + epsilon));
  for (int64_t i = 0; i < n; i += kLanes) {
    if (n - i >= kLanes) {
      vf v = vdiv(vsub(vload(x + i), mean), deviation);
      if (scale) v = vmul(v, vload(scale + i));
      if (bias) v = vadd(v, vload(bias + i));
      vstore(y + i, v);
    } else {
      const int left = int(n - i);
      vf v = vdiv(vsub(vload_n(x + i, left), mean), deviation);
      if (scale) v = vmul(v, vload_n(scale + i, left));
      if (bias) v = vadd(v, vload_n(bias + i, left));
      vstore_n(y + i, v, left);
    }
  }
}
