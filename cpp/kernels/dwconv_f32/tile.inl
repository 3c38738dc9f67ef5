// One row of outputs. For the usual filters (3x3 and 5x5 wide, stride 1 and 2) four output pixels share the taps they
// have in common; any other filter goes one pixel at a time.

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
  int64_t p = 0;
  for (; p + 4 <= t.width; p += 4) dw_block<KW, S, 4, Tail>(t, t.x + p * t.step, t.y + p * t.y_pixel, c, width);
  for (; p < t.width; p++) dw_block<KW, S, 1, Tail>(t, t.x + p * t.step, t.y + p * t.y_pixel, c, width);
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
