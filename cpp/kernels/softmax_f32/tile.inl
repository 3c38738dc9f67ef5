#include "kernels/simd/lanes16.inl"

OCTAVO_INLINE vf max_nan(vf a, vf b) { return vselect(vnan(a), a, vmax(a, b)); }

OCTAVO_INLINE float add1(float a, float b) { return a + b; }
OCTAVO_INLINE float max1(float a, float b) { return !(a == a) ? a : a > b ? a : b; }

void softmax_row(const float* x, float* y, int64_t n, bool log, float (*log_of)(float)) {
  if (n <= 0) return;
  float lane[16];
  for (float& l : lane) l = -__builtin_inff();
  accumulate16(lane, x, n, [](vf a, vf b) __attribute__((always_inline)) { return max_nan(a, b); });
  const vf m = vset(tree16(lane, max1));
  for (float& l : lane) l = 0.0f;
  if (log) {
    accumulate16(lane, x, n,
                 [&](vf a, vf b) __attribute__((always_inline)) { return vadd(a, f_exp_negative(vsub(b, m))); });
    const vf s = vset(log_of(tree16(lane, add1)));
    for (int64_t i = 0; i < n; i += kLanes) {
      const int left = n - i < kLanes ? int(n - i) : kLanes;
      if (left == kLanes)
        vstore(y + i, vsub(vsub(vload(x + i), m), s));
      else
        vstore_n(y + i, vsub(vsub(vload_n(x + i, left), m), s), left);
    }
    return;
  }
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = n - i < kLanes ? int(n - i) : kLanes;
    if (left == kLanes)
      vstore(y + i, f_exp_negative(vsub(vload(x + i), m)));
    else
      vstore_n(y + i, f_exp_negative(vsub(vload_n(x + i, left), m)), left);
  }
  accumulate16(lane, y, n, [](vf a, vf b) __attribute__((always_inline)) { return vadd(a, b); });
  const vf s = vset(tree16(lane, add1));
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = n - i < kLanes ? int(n - i) : kLanes;
    if (left == kLanes)
      vstore(y + i, vdiv(vload(y + i), s));
    else
      vstore_n(y + i, vdiv(vload_n(y + i, left), s), left);
  }
}

void softmax_columns(const float* x, float* y, int64_t n, int64_t stride, int columns, bool log,
                     float (*log_of)(float)) {
  for (int c = 0; c < columns; c += kLanes) {
    const int width = columns - c < kLanes ? columns - c : kLanes;
    float lanes[16][kLanes], logs[kLanes];
    vf m = vset(-__builtin_inff());
    auto at = [&](const float* p, int64_t i) __attribute__((always_inline)) {
      return width == kLanes ? vload(p + i * stride + c) : vload_n(p + i * stride + c, width);
    };
    auto put = [&](int64_t i, vf v) __attribute__((always_inline)) {
      if (width == kLanes)
        vstore(y + i * stride + c, v);
      else
        vstore_n(y + i * stride + c, v, width);
    };
    for (int64_t i = 0; i < n; i++) m = max_nan(m, at(x, i));
    for (auto& lane : lanes) vstore(lane, vset(0.0f));
    for (int64_t i = 0; i < n; i++) {
      const vf e = f_exp_negative(vsub(at(x, i), m));
      vstore(lanes[i & 15], vadd(vload(lanes[i & 15]), e));
      if (!log) put(i, e);
    }
    for (int half = 8; half; half >>= 1)
      for (int l = 0; l < half; l++) vstore(lanes[l], vadd(vload(lanes[l]), vload(lanes[l + half])));
    if (log) {
      for (int l = 0; l < kLanes; l++) logs[l] = l < width ? log_of(lanes[0][l]) : 0.0f;
      const vf s = vload(logs);
      for (int64_t i = 0; i < n; i++) put(i, vsub(vsub(at(x, i), m), s));
    } else {
      const vf s = vload(lanes[0]);
      for (int64_t i = 0; i < n; i++) put(i, vdiv(at(y, i), s));
    }
  }
}
