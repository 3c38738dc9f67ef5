// Written once over the vocabulary of simd/<isa>_i8.h. Included inside namespace octavo::<isa>, anonymous.

#include "kernels/pool_s8/sums.inl"

// kFlip: the bytes are s8; x xor 0x80 orders them as u8. kCols: columns of a window, 0 when only w.cols knows.
template <bool kFlip, int kCols, bool kFull>
OCTAVO_INLINE VB max_of(const uint8_t* x, const PoolWindow& w, int n, VB sign) {
  const int64_t cols = kCols ? kCols : w.cols;
  VB m = set1_b(0);
  for (int64_t r = 0; r < w.rows; r++) {
    const uint8_t* p = x + r * w.row;
    OCTAVO_UNROLL
    for (int64_t q = 0; q < cols; q++, p += w.pixel) {
      const VB v = kFull ? load_b(p) : load_b(p, n);
      m = max_u8(m, kFlip ? xor_b(v, sign) : v);
    }
  }
  return kFlip ? xor_b(m, sign) : m;
}

template <bool kFlip, int kCols>
OCTAVO_INLINE void max_windows(const PoolWindow& w) {
  const VB sign = set1_b(0x80);
  for (int64_t i = 0; i < w.columns; i++) {
    const uint8_t* x = static_cast<const uint8_t*>(w.x) + i * w.step;
    uint8_t* y = static_cast<uint8_t*>(w.y) + i * w.y_pixel;
    int64_t c = 0;
    for (; c + kBytes <= w.channels; c += kBytes) store_b(y + c, max_of<kFlip, kCols, true>(x + c, w, kBytes, sign));
    const int n = int(w.channels - c);
    if (n > 0) store_b(y + c, max_of<kFlip, kCols, false>(x + c, w, n, sign), n);
  }
}

template <bool kFlip>
void max_bytes(const PoolWindow& w) {
  if (w.cols == 2)
    max_windows<kFlip, 2>(w);
  else if (w.cols == 3)
    max_windows<kFlip, 3>(w);
  else
    max_windows<kFlip, 0>(w);
}

void max_floats(const PoolWindow& w) {
  for (int64_t i = 0; i < w.columns; i++) {
    const float* x = static_cast<const float*>(w.x) + i * w.step;
    float* y = static_cast<float*>(w.y) + i * w.y_pixel;
    for (int64_t c = 0; c < w.channels; c += kLanes) {
      const int n = w.channels - c < kLanes ? int(w.channels - c) : kLanes;
      VF m = set1_f(-__builtin_inff());
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t q = 0; q < w.cols; q++) {
          const float* p = x + r * w.row + q * w.pixel + c;
          const VF v = n == kLanes ? load_f(p) : load_f(p, n);
          m = or_nan(v, max_f(v, m));
        }
      n == kLanes ? store_f(y + c, m) : store_f(y + c, m, n);
    }
  }
}

void mean_bytes(const PoolWindow& w, const PoolMean& p) {
  const VF scale = set1_f(p.scale), low = set1_f(float(p.lo - p.zp)), high = set1_f(float(p.hi - p.zp));
  const VH zp = set1_h(int16_t(p.zp));
  const VI sub = set1_i(p.sub);
  for (int64_t i = 0; i < w.columns; i++) {
    const uint8_t* x = static_cast<const uint8_t*>(w.x) + i * w.step;
    uint8_t* y = static_cast<uint8_t*>(w.y) + i * w.y_pixel;
    for (int64_t c = 0; c < w.channels; c += kBytes) {
      const int n = w.channels - c < kBytes ? int(w.channels - c) : kBytes;
      VI acc[4] = {set1_i(0), set1_i(0), set1_i(0), set1_i(0)};
      add_window(acc, x + c, w, n);
      OCTAVO_UNROLL
      for (int j = 0; j < 4; j++) acc[j] = to_i(max_f(min_f(mul_f(to_f(sub_i(acc[j], sub)), scale), high), low));
      store_some(y + c, packus16(adds16(packs32(acc[0], acc[1]), zp), adds16(packs32(acc[2], acc[3]), zp)), n);
    }
  }
}

void average_bytes(const PoolWindow& w, const PoolAverage& p) {
  const VF x_scale = set1_f(p.x_scale), y_scale = set1_f(p.y_scale), count = set1_f(p.count), before = set1_f(p.before);
  const VF low = set1_f(float(p.lo - p.after)), high = set1_f(float(p.hi - p.after));
  const VH after = set1_h(int16_t(p.after));
  const VI x_zp = set1_i(p.x_zp);
  for (int64_t i = 0; i < w.columns; i++) {
    const uint8_t* x = static_cast<const uint8_t*>(w.x) + i * w.step;
    uint8_t* y = static_cast<uint8_t*>(w.y) + i * w.y_pixel;
    for (int64_t c = 0; c < w.channels; c += kBytes) {
      const int n = w.channels - c < kBytes ? int(w.channels - c) : kBytes;
      VF sum[4] = {set1_f(0), set1_f(0), set1_f(0), set1_f(0)};
      for (int64_t r = 0; r < w.rows; r++) {
        const uint8_t* q = x + r * w.row + c;
        for (int64_t k = 0; k < w.cols; k++, q += w.pixel) {
          VI v[4];
          widen(load_some(q, n), v[0], v[1], v[2], v[3]);
          OCTAVO_UNROLL
          for (int j = 0; j < 4; j++) sum[j] = add_f(sum[j], mul_f(to_f(sub_i(v[j], x_zp)), x_scale));
        }
      }
      VI q[4];
      OCTAVO_UNROLL
      for (int j = 0; j < 4; j++) {
        const VF v = add_f(zero_nan(div_f(div_f(sum[j], count), y_scale)), before);
        q[j] = to_i(max_f(min_f(v, high), low));
      }
      store_some(y + c, packus16(adds16(packs32(q[0], q[1]), after), adds16(packs32(q[2], q[3]), after)), n);
    }
  }
}
