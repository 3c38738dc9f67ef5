// One row of outputs, or two. For the usual filters (3x3 and 5x5 wide, stride 1 and 2) four output pixels share the
// taps they have in common; any other filter goes one pixel at a time.

OCTAVO_INLINE void dw_store(const DwconvF32Row& t, float* y, int64_t c, int width, vf acc) {
  if (width == kLanes) {
    if (t.bias) acc = vadd(acc, vload(t.bias + c));
    if (t.clip) acc = vmin(vset(t.hi), vmax(vset(t.lo), acc));
    vstore(y + c, acc);
  } else {
    if (t.bias) acc = vadd(acc, vload_n(t.bias + c, width));
    if (t.clip) acc = vmin(vset(t.hi), vmax(vset(t.lo), acc));
    vstore_n(y + c, acc, width);
  }
}

// P output pixels, S pixels apart in x, filter KW wide; Tail: fewer channels than lanes.
template <int KW, int S, int P, bool Tail>
OCTAVO_INLINE void dw_block(const DwconvF32Row& t, const float* x, float* y, int64_t c, int width) {
  vf acc[P];
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) acc[p] = vset(0.0f);
  const float* w = t.weights + c;
  for (int ky = 0; ky < t.kh; ky++, x += t.row) {
    constexpr int N = (P - 1) * S + KW;
    vf in[N], weight[KW];
#pragma GCC unroll 16
    for (int i = 0; i < N; i++) in[i] = Tail ? vload_n(x + i * t.pixel + c, width) : vload(x + i * t.pixel + c);
#pragma GCC unroll 8
    for (int k = 0; k < KW; k++, w += t.weights_pitch) weight[k] = vload(w);
#pragma GCC unroll 8
    for (int k = 0; k < KW; k++)
#pragma GCC unroll 4
      for (int p = 0; p < P; p++) acc[p] = vfma(in[p * S + k], weight[k], acc[p]);
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; p++) dw_store(t, y + p * t.y_pixel, c, width, acc[p]);
}

template <int KW, int S, bool Tail>
void dw_row(const DwconvF32Row& t, int64_t c, int width) {
  auto at = [&](int64_t p) { dw_block<KW, S, 4, Tail>(t, t.x + p * t.step, t.y + p * t.y_pixel, c, width); };
  for (int64_t p = 0; p + 4 <= t.width; p += 4) at(p);
  // A last block that overlaps the one before writes the same values again.
  if (t.width % 4 && t.width > 4) return at(t.width - 4);
  for (int64_t p = t.width / 4 * 4; p < t.width; p++)
    dw_block<KW, S, 1, Tail>(t, t.x + p * t.step, t.y + p * t.y_pixel, c, width);
}

// P output pixels of two rows, K x K taps, stride 1. Input row r is tap row r of the upper outputs and r - 1 of the
// lower ones: every chain keeps its order.
template <int K, int P, bool Tail>
OCTAVO_INLINE void dw_pair_block(const DwconvF32Row& t, int64_t p, int64_t c, int width) {
  vf acc[2][P];
#pragma GCC unroll 4
  for (int i = 0; i < P; i++) acc[0][i] = acc[1][i] = vset(0.0f);
  const float* x = t.x + p * t.pixel + c;
#pragma GCC unroll 6
  for (int r = 0; r <= K; r++, x += t.row) {
    constexpr int N = P - 1 + K;
    vf in[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; i++) in[i] = Tail ? vload_n(x + i * t.pixel, width) : vload(x + i * t.pixel);
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      if (r - half < 0 || r - half >= K) continue;
      const float* w = t.weights + c + (r - half) * K * t.weights_pitch;
#pragma GCC unroll 8
      for (int k = 0; k < K; k++) {
        const vf weight = vload(w + k * t.weights_pitch);
#pragma GCC unroll 4
        for (int i = 0; i < P; i++) acc[half][i] = vfma(in[i + k], weight, acc[half][i]);
      }
    }
  }
  float* y = t.y + p * t.y_pixel;
#pragma GCC unroll 4
  for (int i = 0; i < P; i++) dw_store(t, y + i * t.y_pixel, c, width, acc[0][i]);
#pragma GCC unroll 4
  for (int i = 0; i < P; i++) dw_store(t, y + t.y_row + i * t.y_pixel, c, width, acc[1][i]);
}

template <int K, bool Tail>
void dw_pair(const DwconvF32Row& t, int64_t c, int width) {
  for (int64_t p = 0; p + 4 <= t.width; p += 4) dw_pair_block<K, 4, Tail>(t, p, c, width);
  if (t.width % 4 && t.width > 4) return dw_pair_block<K, 4, Tail>(t, t.width - 4, c, width);
  for (int64_t p = t.width / 4 * 4; p < t.width; p++) dw_pair_block<K, 1, Tail>(t, p, c, width);
}

void dwconv_pair(const DwconvF32Row& t) {
  for (int64_t c = 0; c < t.channels; c += kLanes) {
    const int width = t.channels - c < kLanes ? int(t.channels - c) : kLanes;
    if (t.kw == 3)
      width < kLanes ? dw_pair<3, true>(t, c, width) : dw_pair<3, false>(t, c, width);
    else
      width < kLanes ? dw_pair<5, true>(t, c, width) : dw_pair<5, false>(t, c, width);
  }
}

void dw_any(const DwconvF32Row& t, int64_t c, int width) {
  for (int64_t p = 0; p < t.width; p++) {
    vf acc = vset(0.0f);
    const float* w = t.weights + c;
    const float* x = t.x + p * t.step + c;
    for (int ky = 0; ky < t.kh; ky++)
      for (int kx = 0; kx < t.kw; kx++, w += t.weights_pitch) {
        const float* tap = x + ky * t.row + kx * t.pixel;
        acc = vfma(width == kLanes ? vload(tap) : vload_n(tap, width), vload(w), acc);
      }
    dw_store(t, t.y + p * t.y_pixel, c, width, acc);
  }
}

void dwconv_row(const DwconvF32Row& t) {
  for (int64_t c = 0; c < t.channels; c += kLanes) {
    const int width = t.channels - c < kLanes ? int(t.channels - c) : kLanes;
    const bool tail = width < kLanes;
    const int kind = int(t.across) * 10 + t.kw;
    if (kind == 13)
      tail ? dw_row<3, 1, true>(t, c, width) : dw_row<3, 1, false>(t, c, width);
    else if (kind == 23)
      tail ? dw_row<3, 2, true>(t, c, width) : dw_row<3, 2, false>(t, c, width);
    else if (kind == 15)
      tail ? dw_row<5, 1, true>(t, c, width) : dw_row<5, 1, false>(t, c, width);
    else if (kind == 25)
      tail ? dw_row<5, 2, true>(t, c, width) : dw_row<5, 2, false>(t, c, width);
    else
      dw_any(t, c, width);
  }
}
