// Written once over the vocabulary of simd/<isa>_fixed.h. Included inside namespace octavo::<isa>, anonymous.

#include "kernels/pool_s8/sums.inl"

// v / divisor to the nearest, ties away from zero.
OCTAVO_INLINE VI divided(VI v, int32_t divisor) {
  int32_t lane[kLanes];
  store_i(lane, v);
  const uint32_t n = uint32_t(divisor), half = n / 2;
  for (int l = 0; l < kLanes; l++) {
    const uint32_t magnitude = lane[l] < 0 ? 0u - uint32_t(lane[l]) : uint32_t(lane[l]);
    const uint32_t q = (magnitude + half) / n;  // magnitude <= 2^31 and half < 2^31
    lane[l] = lane[l] < 0 ? int32_t(0u - q) : int32_t(q);
  }
  return load_i(lane);
}

void mean_u8(const PoolWindow& w, const PoolFixedMean& p) {
  const VI add = set1_i(p.add);
  const ScalesTwice m = make_twice(set1_i(p.multiplier), set1_i(p.shift));
  const VH zp = set1_h(int16_t(p.zp));
  const VB lo = set1_b(uint8_t(p.lo)), hi = set1_b(uint8_t(p.hi));
  for (int64_t i = 0; i < w.columns; i++) {
    const uint8_t* x = static_cast<const uint8_t*>(w.x) + i * w.step;
    uint8_t* y = static_cast<uint8_t*>(w.y) + i * w.y_pixel;
    for (int64_t c = 0; c < w.channels; c += kBytes) {
      const int n = w.channels - c < kBytes ? int(w.channels - c) : kBytes;
      VI acc[4] = {add, add, add, add};
      add_window(acc, x + c, w, n);
      for (int j = 0; j < 4; j++) acc[j] = p.divisor > 0 ? divided(acc[j], p.divisor) : twice(acc[j], m);
      const VB v = packus16(adds16(packs32(acc[0], acc[1]), zp), adds16(packs32(acc[2], acc[3]), zp));
      store_some(y + c, min_u8(max_u8(v, lo), hi), n);
    }
  }
}
