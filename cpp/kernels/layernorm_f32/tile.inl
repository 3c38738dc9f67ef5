#include "kernels/simd/lanes16.inl"

OCTAVO_INLINE float add1(float a, float b) { return a + b; }

// Stage by stage for a few rows, so that one row's reductions overlap with the next row's work.
void layernorm_rows(const float* x, const float* scale, const float* bias, float* y, int64_t rows, int64_t n,
                    float epsilon) {
  constexpr int kRows = 8;
  if (n <= 0) return;
  for (; rows > 0; rows -= kRows, x += kRows * n, y += kRows * n) {
    const int count = rows < kRows ? int(rows) : kRows;
    float mean[kRows], deviation[kRows];
    for (int r = 0; r < count; r++) {
      float lane[16] = {};
      accumulate16(lane, x + r * n, n, [](vf a, vf b) __attribute__((always_inline)) { return vadd(a, b); });
      mean[r] = tree16(lane, add1) / float(n);
    }
    for (int r = 0; r < count; r++) {
      float lane[16] = {};
      const vf m = vset(mean[r]);
      accumulate16(lane, x + r * n, n, [&](vf a, vf b) __attribute__((always_inline)) {
        const vf d = vsub(b, m);
        return vadd(a, vmul(d, d));
      });
      deviation[r] = __builtin_sqrtf(tree16(lane, add1) / float(n) + epsilon);
    }
    for (int r = 0; r < count; r++) {
      const float* from = x + r * n;
      float* to = y + r * n;
      const vf m = vset(mean[r]), d = vset(deviation[r]);
      for (int64_t i = 0; i < n; i += kLanes) {
        if (n - i >= kLanes) {
          vf v = vdiv(vsub(vload(from + i), m), d);
          if (scale) v = vmul(v, vload(scale + i));
          if (bias) v = vadd(v, vload(bias + i));
          vstore(to + i, v);
        } else {
          const int left = int(n - i);
          vf v = vdiv(vsub(vload_n(from + i, left), m), d);
          if (scale) v = vmul(v, vload_n(scale + i, left));
          if (bias) v = vadd(v, vload_n(bias + i, left));
          vstore_n(to + i, v, left);
        }
      }
    }
  }
}
