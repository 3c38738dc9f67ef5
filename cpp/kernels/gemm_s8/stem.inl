// The stem kernel (stem.h). Included from avx512vnni.cpp; the only code there that needs byte permutes of two
// registers.

#define OCTAVO_VBMI __attribute__((target("avx512vbmi")))

// The patches of `pixels` outputs at x, group by group.
OCTAVO_VBMI inline __attribute__((always_inline)) void gather_patches(const StemLine& t, const uint8_t* x, int pixels) {
  const int bytes = (pixels - 1) * t.step + t.row_bytes;
  const __mmask64 low = bytes_mask(bytes), high = bytes > kBytes ? bytes_mask(bytes - kBytes) : 0;
  uint8_t* work = static_cast<uint8_t*>(t.work);
  VB lo = set1_b(0), hi = lo;
#pragma GCC unroll 1
  for (const StemTerm *term = t.terms, *end = term + t.term_count; term < end; term++) {
    if (term->new_row) {
      const uint8_t* p = x + term->row * t.row;
      lo = _mm512_maskz_loadu_epi8(low, p), hi = _mm512_maskz_loadu_epi8(high, p + kBytes);
    }
    const VB part = _mm512_maskz_permutex2var_epi8(term->mask, lo, load_b(term->index), hi);
    uint8_t* to = work + term->group * kBytes;
    store_b(to, term->new_group ? part : _mm512_or_si512(part, load_b(to)));
  }
}

// kStemChannels channels of kStemPixels outputs: vector i holds channels 4 * i .. of a pixel in its lane.
// kGroups: of a patch, 0 when only `groups` knows.
template <GemmS8Out kOut, int kGroups>
OCTAVO_INLINE void stem_channels(const uint8_t* patch, int groups, const int8_t* w, const int32_t* bias, const float* m,
                                 const Requant& q, VB (&y)[2]) {
  VI acc[kStemChannels];
  OCTAVO_UNROLL
  for (int c = 0; c < kStemChannels; c++) acc[c] = set1_i(bias[c]);
  if constexpr (kGroups > 0) {
    OCTAVO_UNROLL
    for (int g = 0; g < kGroups; g++) {
      const VB u = load_b(patch + g * kBytes);
      OCTAVO_UNROLL
      for (int c = 0; c < kStemChannels; c++) dot_all(acc[c], u, w + 4 * (g * kStemChannels + c));
    }
  } else {
#pragma GCC unroll 1
    for (int g = 0; g < groups; g++, patch += kBytes, w += 4 * kStemChannels) {
      const VB u = load_b(patch);
      OCTAVO_UNROLL
      for (int c = 0; c < kStemChannels; c++) dot_all(acc[c], u, w + 4 * c);
    }
  }
  const VB transposed = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  OCTAVO_UNROLL
  for (int i = 0; i < 2; i++) {
    VI v[4];
    OCTAVO_UNROLL
    for (int c = 0; c < 4; c++) v[c] = scaled<kOut>(acc[4 * i + c], set1_f(m[4 * i + c]), q);
    y[i] = pack4(v[0], v[1], v[2], v[3], q);
    if (kOut == GemmS8Out::u8_bytes) y[i] = min_u8(max_u8(y[i], q.lo), q.hi);
    y[i] = _mm512_shuffle_epi8(y[i], transposed);
  }
}

// What store_stem() leaves: a pixel at a time.
__attribute__((noinline)) void store_pixels(uint8_t* to, int64_t pitch, const VB* v, int pixels, int cols) {
  for (int p = 0; p < pixels; p++) store_span(to + p * pitch, load_b(v + p % 4), p / 4 * 16, cols);
}

// Sixteen channels (the first `cols`) of `pixels` outputs; vector i holds channels 4 * i ..
OCTAVO_INLINE void store_stem(uint8_t* to, int64_t pitch, const VB (&y)[4], int pixels, int cols, void* work) {
  const VB l01 = _mm512_unpacklo_epi32(y[0], y[1]), h01 = _mm512_unpackhi_epi32(y[0], y[1]);
  if (cols == 8 && pitch == 8 && pixels == kStemPixels) {
    const VI low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    store_b(to, _mm512_permutex2var_epi64(l01, low, h01));
    store_b(to + kBytes, _mm512_permutex2var_epi64(l01, high, h01));
    return;
  }
  const VB l23 = _mm512_unpacklo_epi32(y[2], y[3]), h23 = _mm512_unpackhi_epi32(y[2], y[3]);
  // 128-bit block b of vector i is pixel 4 * b + i.
  const VB v[4] = {_mm512_unpacklo_epi64(l01, l23), _mm512_unpackhi_epi64(l01, l23), _mm512_unpacklo_epi64(h01, h23),
                   _mm512_unpackhi_epi64(h01, h23)};
  if (cols == 16 && pixels == kStemPixels) {
    OCTAVO_UNROLL
    for (int i = 0; i < 4; i++) {
      store_quarter<0>(to + i * pitch, v[i]);
      store_quarter<1>(to + (4 + i) * pitch, v[i]);
      store_quarter<2>(to + (8 + i) * pitch, v[i]);
      store_quarter<3>(to + (12 + i) * pitch, v[i]);
    }
    return;
  }
  VB* memory = static_cast<VB*>(work);
  OCTAVO_UNROLL
  for (int i = 0; i < 4; i++) memory[i] = v[i];
  store_pixels(to, pitch, memory, pixels, cols);
}

template <GemmS8Out kOut, int kGroups>
OCTAVO_VBMI __attribute__((noinline)) void stem_line(const StemLine& line) {
  const StemLine t = line;  // a copy: the compiler sees that no store changes it
  const Requant q = {set1_f(float(t.lo - t.zp)), set1_f(float(t.hi - t.zp)), set1_h(int16_t(t.zp)),
                     set1_b(uint8_t(t.lo)), set1_b(uint8_t(t.hi))};
  const int64_t block = int64_t(t.groups) * 4 * kStemChannels;
  for (int done = 0; done < t.pixels; done += kStemPixels) {
    const int pixels = t.pixels - done < kStemPixels ? t.pixels - done : kStemPixels;
    gather_patches(t, t.x + int64_t(done) * t.step, pixels);
    const uint8_t* patch = static_cast<const uint8_t*>(t.work);
    uint8_t* to = t.y + done * t.y_pixel;
    const int8_t* w = t.w;
    const int32_t* bias = t.bias;
    const float* m = t.m;
    for (int left = t.channels; left > 0; left -= 2 * kStemChannels) {
      VB first[2], second[2] = {set1_b(0), set1_b(0)};
      stem_channels<kOut, kGroups>(patch, t.groups, w, bias, m, q, first);
      if (left > kStemChannels)
        stem_channels<kOut, kGroups>(patch, t.groups, w + block, bias + kStemChannels, m + kStemChannels, q, second);
      store_stem(to, t.y_pixel, {first[0], first[1], second[0], second[1]}, pixels,
                 left < 2 * kStemChannels ? left : 2 * kStemChannels,
                 static_cast<uint8_t*>(t.work) + t.groups * kBytes);
      to += 2 * kStemChannels, w += 2 * block, bias += 2 * kStemChannels, m += 2 * kStemChannels;
    }
  }
}

template <GemmS8Out kOut>
OCTAVO_INLINE void stem_any(const StemLine& t) {
  if (t.groups == 7)  // 3 x 3 over three channels
    stem_line<kOut, 7>(t);
  else
    stem_line<kOut, 0>(t);
}

void stem(const StemLine& t) {
  if (t.out == GemmS8Out::u8_saturate)
    stem_any<GemmS8Out::u8_saturate>(t);
  else if (t.out == GemmS8Out::u8_bytes)
    stem_any<GemmS8Out::u8_bytes>(t);
  else
    stem_any<GemmS8Out::u8_float>(t);
}
