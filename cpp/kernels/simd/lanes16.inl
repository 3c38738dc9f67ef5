// Sixteen virtual lanes, whatever the real width: element i goes to lane i mod 16, and the lanes are combined in
// halves. Included inside octavo::<isa>::{anonymous}, after a vocabulary.

constexpr int kVectors16 = 16 / kLanes;

// Combines lanes l and l + 8, then l and l + 4, and so on.
template <class F>
OCTAVO_INLINE float tree16(const float* lane, F f) {
  float t[8];
  for (int l = 0; l < 8; l++) t[l] = f(lane[l], lane[l + 8]);
  for (int half = 4; half; half >>= 1)
    for (int l = 0; l < half; l++) t[l] = f(t[l], t[l + half]);
  return t[0];
}

// acc = f(acc, x) for elements whose first belongs to lane 0.
template <class F>
OCTAVO_INLINE void accumulate16(float* lane, const float* x, int64_t n, F f) {
  vf acc[kVectors16];
  for (int v = 0; v < kVectors16; v++) acc[v] = vload(lane + v * kLanes);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors16; v++) acc[v] = f(acc[v], vload(x + i + v * kLanes));
  for (int v = 0; v < kVectors16; v++) {
    const int64_t left = n - i - v * kLanes;
    if (left >= kLanes) {
      vstore(lane + v * kLanes, f(acc[v], vload(x + i + v * kLanes)));
    } else {
      vstore(lane + v * kLanes, acc[v]);
      if (left > 0) vstore_n(lane + v * kLanes, f(acc[v], vload_n(x + i + v * kLanes, int(left))), int(left));
    }
  }
}
