// Sums of bytes over windows, for the families pool_s8 and pool_fixed. Included inside namespace octavo::<isa>,
// anonymous.

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 4")

OCTAVO_INLINE VB load_some(const uint8_t* p, int n) { return n == kBytes ? load_b(p) : load_b(p, n); }
OCTAVO_INLINE void store_some(uint8_t* p, VB x, int n) { n == kBytes ? store_b(p, x) : store_b(p, x, n); }

// Four pixels are interleaved, so that one dot product with ones adds them channel by channel; the packs restore order.
OCTAVO_INLINE void add_four(VI (&acc)[4], VB r0, VB r1, VB r2, VB r3, VB ones) {
  const VB a = unpack_lo8(r0, r1), b = unpack_hi8(r0, r1), c = unpack_lo8(r2, r3), d = unpack_hi8(r2, r3);
  dot(acc[0], unpack_lo16(a, c), ones);
  dot(acc[1], unpack_hi16(a, c), ones);
  dot(acc[2], unpack_lo16(b, d), ones);
  dot(acc[3], unpack_hi16(b, d), ones);
}

// Adds the window's pixels to the sums of n channels from x on, in the order of widen().
OCTAVO_INLINE void add_window(VI (&acc)[4], const uint8_t* x, const PoolWindow& w, int n) {
  const VB zero = set1_b(0), ones = set1_b(1);
  for (int64_t r = 0; r < w.rows; r++) {
    const uint8_t* q = x + r * w.row;
    int64_t k = 0;
    for (; k + 4 <= w.cols; k += 4, q += 4 * w.pixel)
      add_four(acc, load_some(q, n), load_some(q + w.pixel, n), load_some(q + 2 * w.pixel, n),
               load_some(q + 3 * w.pixel, n), ones);
    const int64_t left = w.cols - k;
    if (left > 0)
      add_four(acc, load_some(q, n), left > 1 ? load_some(q + w.pixel, n) : zero,
               left > 2 ? load_some(q + 2 * w.pixel, n) : zero, zero, ones);
  }
}

int32_t sum_bytes(const uint8_t* x, int64_t n) {
  const VB ones = set1_b(1);
  VI acc = set1_i(0);
  int64_t i = 0;
  for (; i + kBytes <= n; i += kBytes) dot(acc, load_b(x + i), ones);
  if (i < n) dot(acc, load_b(x + i, int(n - i)), ones);
  int32_t lane[kLanes];
  store_i(lane, acc);
  uint32_t total = 0;
  for (int l = 0; l < kLanes; l++) total += uint32_t(lane[l]);
  return int32_t(total);
}
