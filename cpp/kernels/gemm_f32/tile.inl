// The micro-kernel over the vocabulary. Rows are reached through one pointer for every three, so that fourteen of them
// fit the general registers. Included inside octavo::<isa>::{anonymous}.

OCTAVO_INLINE void finish(const GemmF32Tile& t, int row, int vector, vf acc) {
  const int first = vector * kLanes, left = t.columns - first;
  if (left <= 0) return;
  if (left >= kLanes) {
    if (t.bias) acc = vadd(acc, vload(t.bias + first));
    if (t.z) acc = vadd(acc, vload(t.z + row * t.ldz + first));
    if (t.clip) acc = vmin(vset(t.hi), vmax(vset(t.lo), acc));
    vstore(t.y + row * t.ldy + first, acc);
  } else {
    if (t.bias) acc = vadd(acc, vload_n(t.bias + first, left));
    if (t.z) acc = vadd(acc, vload_n(t.z + row * t.ldz + first, left));
    if (t.clip) acc = vmin(vset(t.hi), vmax(vset(t.lo), acc));
    vstore_n(t.y + row * t.ldy + first, acc, left);
  }
}

template <int R, int V>
__attribute__((noinline)) void gemm_tile(const GemmF32Tile& t) {
  vf acc[R][V];
#pragma GCC unroll 14
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) acc[r][v] = vset(0.0f);

  const float* b = t.b;
  const int64_t lda = t.lda;
  for (int64_t s = 0; s < t.segment_count; s++) {
    constexpr int G = (R + 2) / 3;
    const float* p[G];
#pragma GCC unroll 5
    for (int g = 0; g < G; g++) p[g] = t.a + t.segments[s] + g * 3 * lda;
    for (int64_t k = t.segment_length; k > 0; k--) {
      vf w[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) w[v] = vload(b + v * kLanes);
      b += V * kLanes;
#pragma GCC unroll 14
      for (int r = 0; r < R; r++) {
        const vf x = vset(p[r / 3][(r % 3) * lda]);
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) acc[r][v] = vfma(x, w[v], acc[r][v]);
      }
#pragma GCC unroll 5
      for (int g = 0; g < G; g++) p[g]++;
    }
  }

#pragma GCC unroll 14
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) finish(t, r, v, acc[r][v]);
}
