#include "kernels/simd/lanes16.inl"

OCTAVO_INLINE vf max_nan(vf a, vf b) { return vselect(vnan(a), a, vmax(a, b)); }

OCTAVO_INLINE float add1(float a, float b) { return a + b; }

// The largest element that is no NaN. A NaN need not win here: its exponential is NaN, so the sum is, so all results
// are. Four chains, in whatever order.
OCTAVO_INLINE float largest(const float* x, int64_t n) {
  vf top[4];
  for (vf& t : top) t = vset(-__builtin_inff());
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes)
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) top[v] = vmax(vload(x + i + v * kLanes), top[v]);
  for (; i + kLanes <= n; i += kLanes) top[0] = vmax(vload(x + i), top[0]);
  float lane[kLanes];
  vstore(lane, vmax(vmax(top[0], top[1]), vmax(top[2], top[3])));
  for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
#pragma GCC unroll 4
  for (int half = kLanes / 2; half; half >>= 1)
    for (int l = 0; l < half; l++) lane[l] = lane[l] > lane[l + half] ? lane[l] : lane[l + half];
  return lane[0];
}

// y = exp(x - m); the sum of y in sixteen lanes.
OCTAVO_INLINE float exponentials(const float* x, float* y, int64_t n, vf m) {
  vf acc[kVectors16];
  for (vf& a : acc) a = vset(0.0f);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors16; v++) {
      const vf e = f_exp_negative(vsub(vload(x + i + v * kLanes), m));
      vstore(y + i + v * kLanes, e);
      acc[v] = vadd(acc[v], e);
    }
  float lane[16];
  for (int v = 0; v < kVectors16; v++) vstore(lane + v * kLanes, acc[v]);
  for (int64_t first = i; i < n; i += kLanes) {
    const int left = n - i < kLanes ? int(n - i) : kLanes;
    vstore_n(y + i, f_exp_negative(vsub(vload_n(x + i, left), m)), left);
    for (int l = 0; l < left; l++) lane[i - first + l] = lane[i - first + l] + y[i + l];
  }
  return tree16(lane, add1);
}

template <class F>
OCTAVO_INLINE void map_row(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(y + i, f(vload(x + i)));
  if (i < n) vstore_n(y + i, f(vload_n(x + i, int(n - i))), int(n - i));
}

// Scales and masks a row in place; its largest element, as largest() finds it.
OCTAVO_INLINE float prepare_scores(float* x, int64_t n, const ScoresF32& how, const float* mask) {
  const vf by = vset(how.by), same = vset(how.mask_scalar ? *mask : 0.0f);
  vf top = vset(-__builtin_inff());
  auto step = [&](vf v, vf m) __attribute__((always_inline)) {
    v = how.divide ? vdiv(v, by) : vmul(v, by);
    return mask ? vadd(v, m) : v;
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const vf v = step(vload(x + i), mask && !how.mask_scalar ? vload(mask + i) : same);
    vstore(x + i, v);
    top = vmax(v, top);
  }
  float lane[kLanes];
  vstore(lane, top);
  if (const int left = int(n - i)) {
    vstore_n(x + i, step(vload_n(x + i, left), mask && !how.mask_scalar ? vload_n(mask + i, left) : same), left);
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
  }
  for (int half = kLanes / 2; half; half >>= 1)
    for (int l = 0; l < half; l++) lane[l] = lane[l] > lane[l + half] ? lane[l] : lane[l + half];
  return lane[0];
}

void softmax_scores(float* x, int64_t rows, int64_t n, const ScoresF32& how) {
  constexpr int kRows = 16;
  if (n <= 0) return;
  const float* mask = how.mask;
  for (; rows > 0; rows -= kRows, x += kRows * n) {
    const int count = rows < kRows ? int(rows) : kRows;
    float top[kRows], sum[kRows];
    for (int r = 0; r < count; r++, mask += mask ? how.mask_row : 0) top[r] = prepare_scores(x + r * n, n, how, mask);
    for (int r = 0; r < count; r++) sum[r] = exponentials(x + r * n, x + r * n, n, vset(top[r]));
    for (int r = 0; r < count; r++) {
      const vf s = vset(1.0f / sum[r]);
      map_row(x + r * n, x + r * n, n, [&](vf v) __attribute__((always_inline)) { return vmul(v, s); });
    }
  }
}

// Stage by stage for a few rows, so that one row's reductions overlap with the next row's work.
void softmax_rows(const float* x, float* y, int64_t rows, int64_t n, bool log, float (*log_of)(float)) {
  constexpr int kRows = 16;
  if (n <= 0) return;
  for (; rows > 0; rows -= kRows, x += kRows * n, y += kRows * n) {
    const int count = rows < kRows ? int(rows) : kRows;
    float top[kRows], sum[kRows];
    for (int r = 0; r < count; r++) top[r] = largest(x + r * n, n);
    for (int r = 0; r < count; r++) {
      const vf m = vset(top[r]);
      if (!log) {
        sum[r] = exponentials(x + r * n, y + r * n, n, m);
        continue;
      }
      float lane[16] = {};
      accumulate16(lane, x + r * n, n,
                   [&](vf a, vf b) __attribute__((always_inline)) { return vadd(a, f_exp_negative(vsub(b, m))); });
      sum[r] = log_of(tree16(lane, add1));
    }
    for (int r = 0; r < count; r++) {
      const vf m = vset(top[r]), s = vset(log ? sum[r] : 1.0f / sum[r]);
      if (log)
        map_row(x + r * n, y + r * n, n, [&](vf v) __attribute__((always_inline)) { return vsub(vsub(v, m), s); });
      else
        map_row(y + r * n, y + r * n, n, [&](vf v) __attribute__((always_inline)) { return vmul(v, s); });
    }
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
      const vf s = vdiv(vset(1.0f), vload(lanes[0]));
      for (int64_t i = 0; i < n; i++) put(i, vmul(at(y, i), s));
    }
  }
}
