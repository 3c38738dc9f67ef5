// AVX2 and AVX-512 alike. Included inside namespace octavo::<isa>, anonymous, after
// the SIMD vocabulary and these words of the ISA's own: is_nan (bits of lanes), narrow (four VI of values in
// [0, 255] to bytes in order), widen1 (the next kLanes bytes to a VI), pixels3 (lanes of r | g << 8 | b << 16 to packed
// 3-byte pixels, stored exactly).

#define OCTAVO_INLINE inline __attribute__((always_inline))
#define OCTAVO_UNROLL _Pragma("GCC unroll 4")

// A true division: two exact Newton steps on the reciprocal instead were measured to be slower.
struct Quantizer {
  VF scale, low, high;
  VI zp;
  OCTAVO_INLINE explicit Quantizer(const QuantizeParams& p)
      : scale(set1_f(p.scale)), low(set1_f(float(p.lo - p.zp))), high(set1_f(float(p.hi - p.zp))), zp(set1_i(p.zp)) {}
  // Clamping to whole numbers before rounding equals clamping after it.
  OCTAVO_INLINE VI operator()(VF x, uint32_t& nan) const {
    const VF v = div_f(x, scale);
    nan |= is_nan(v);
    return add_i(to_i(max_f(min_f(zero_nan(v), high), low)), zp);
  }
};

bool to_u8(uint8_t* y, const float* x, int64_t n, const QuantizeParams& p) {
  const Quantizer q(p);
  uint32_t nan = 0;
  int64_t i = 0;
  for (; i + kBytes <= n; i += kBytes) {
    VI v[4];
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) v[j] = q(load_f(x + i + j * kLanes), nan);
    store_b(y + i, narrow(v[0], v[1], v[2], v[3]));
  }
  for (; i < n; i += kLanes) {
    const int left = n - i < kLanes ? int(n - i) : kLanes;
    uint32_t bits = 0;
    const VI v = q(load_f(x + i, left), bits);
    nan |= bits & ((1u << left) - 1);  // absent lanes are zeros, and 0 / 0 is a NaN when the scale is zero
    store_b(y + i, narrow(v, v, v, v), left);
  }
  return nan != 0;
}

bool planes3(uint8_t* y, const float* x, int64_t plane, int64_t n, const QuantizeParams& p) {
  const Quantizer q(p);
  uint32_t nan = 0;
  for (int64_t i = 0; i < n; i += kLanes) {
    const int left = n - i < kLanes ? int(n - i) : kLanes;
    uint32_t bits = 0;
    VI v[3];
    for (int c = 0; c < 3; c++) {
      const float* from = x + c * plane + i;
      v[c] = q(left == kLanes ? load_f(from) : load_f(from, left), bits);
    }
    nan |= bits & ((1u << left) - 1);
    pixels3(y + 3 * i, v[0], v[1], v[2], left);
  }
  return nan != 0;
}

void from_u8(float* y, const uint8_t* x, int64_t n, int32_t zp, float scale) {
  const VI z = set1_i(zp);
  const VF s = set1_f(scale);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f(y + i, mul_f(to_f(sub_i(widen1(x + i), z)), s));
  for (; i < n; i++) y[i] = float(x[i] - zp) * scale;
}

// min and max are associative and commutative here: every order gives the same bytes (zeros are made +0).
void min_max(const float* x, int64_t n, float* out) {
  VF lo[4], hi[4];
  for (int j = 0; j < 4; j++) lo[j] = hi[j] = set1_f(0.0f);
  int64_t i = 0;
  for (; i + kBytes <= n; i += kBytes) {
    OCTAVO_UNROLL
    for (int j = 0; j < 4; j++) {
      const VF v = load_f(x + i + j * kLanes);
      lo[j] = min_f(v, lo[j]), hi[j] = max_f(v, hi[j]);  // a NaN gives the second operand
    }
  }
  for (; i < n; i += kLanes) {
    const VF v = load_f(x + i, n - i < kLanes ? int(n - i) : kLanes);
    lo[0] = min_f(v, lo[0]), hi[0] = max_f(v, hi[0]);
  }
  float least = 0.0f, most = 0.0f, lane[kLanes];
  for (int j = 0; j < 4; j++) {
    store_f(lane, lo[j]);
    for (int l = 0; l < kLanes; l++) least = lane[l] < least ? lane[l] : least;
    store_f(lane, hi[j]);
    for (int l = 0; l < kLanes; l++) most = lane[l] > most ? lane[l] : most;
  }
  out[0] = least, out[1] = most;
}
