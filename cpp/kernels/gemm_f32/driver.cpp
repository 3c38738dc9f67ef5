#include "kernels/gemm_f32/driver.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace octavo {

namespace {

// to[k * width + n] = from[n * stride + k], four by four in registers.
void transpose(const float* from, int64_t stride, int64_t K, int64_t columns, float* to, int64_t width) {
  using Four = float __attribute__((vector_size(16)));
  int64_t n = 0;
  for (; n + 4 <= columns; n += 4) {
    const float* row = from + n * stride;
    float* out = to + n;
    int64_t k = 0;
    for (; k + 4 <= K; k += 4, out += 4 * width) {
      Four r[4];
      for (int i = 0; i < 4; i++) std::memcpy(&r[i], row + i * stride + k, 16);
      const Four low0 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5),
                 high0 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
      const Four low1 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5),
                 high1 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
      const Four column[4] = {
          __builtin_shufflevector(low0, low1, 0, 1, 4, 5), __builtin_shufflevector(low0, low1, 2, 3, 6, 7),
          __builtin_shufflevector(high0, high1, 0, 1, 4, 5), __builtin_shufflevector(high0, high1, 2, 3, 6, 7)};
      for (int i = 0; i < 4; i++) std::memcpy(out + i * width, &column[i], 16);
    }
    for (; k < K; k++, out += width)
      for (int i = 0; i < 4; i++) out[i] = row[i * stride + k];
  }
  for (; n < columns; n++)
    for (int64_t k = 0; k < K; k++) to[k * width + n] = from[n * stride + k];
}

}  // namespace

int64_t gemm_f32_panels(const GemmF32& kernel, int64_t N) { return (N + 2 * kernel.lanes - 1) / (2 * kernel.lanes); }

int64_t gemm_f32_packed_floats(const GemmF32& kernel, int64_t K, int64_t N) {
  return K * ((N + kernel.lanes - 1) / kernel.lanes * kernel.lanes);
}

void gemm_f32_pack(const GemmF32& kernel, const float* b, int64_t stride_k, int64_t stride_n, int64_t K, int64_t N,
                   int64_t from, int64_t to, float* packed) {
  const int64_t full = 2 * kernel.lanes;
  for (int64_t panel = from; panel < to; panel++) {
    const int64_t n0 = panel * full, columns = std::min(full, N - n0);
    const int64_t width = columns > kernel.lanes ? full : kernel.lanes;
    float* out = packed + n0 * K;
    if (stride_n == 1) {
      for (int64_t k = 0; k < K; k++) std::memcpy(out + k * width, b + k * stride_k + n0, size_t(columns) * 4);
    } else if (stride_k == 1) {
      transpose(b + n0 * stride_n, stride_n, K, columns, out, width);
    } else {
      for (int64_t k = 0; k < K; k++)
        for (int64_t n = 0; n < columns; n++) out[k * width + n] = b[k * stride_k + (n0 + n) * stride_n];
    }
    for (int64_t k = 0; k < K && columns < width; k++)
      std::fill(out + k * width + columns, out + (k + 1) * width, 0.0f);
  }
}

void gemm_f32_rows(const GemmF32Job& job, const float* a, int64_t lda, const float* z, int64_t ldz, float* y,
                   int64_t ldy, int64_t rows, int64_t from, int64_t to) {
  const GemmF32& kernel = *job.kernel;
  const int64_t full = 2 * kernel.lanes;
  GemmF32Tile t{};
  t.lda = lda;
  t.segments = job.segments;
  t.segment_count = job.segment_count;
  t.segment_length = job.segment_length;
  t.ldz = ldz;
  t.ldy = ldy;
  t.clip = job.act == UnaryFn::Relu || job.act == UnaryFn::Clip;
  t.lo = job.act == UnaryFn::Relu ? 0.0f : job.alpha;
  t.hi = job.act == UnaryFn::Relu ? std::numeric_limits<float>::infinity() : job.beta;
  const bool after = job.act != UnaryFn::None && !t.clip;

  // As many panels a pass over the rows as stay in half of a 1 MiB second-level cache.
  const int64_t group = std::max<int64_t>(1, (384 << 10) / std::max<int64_t>(1, job.K * full * 4));
  for (int64_t p0 = from; p0 < to; p0 += group) {
    const int64_t p1 = std::min(to, p0 + group);
    for (int64_t m = 0, left = rows; left > 0;) {
      // Even heights: no tiny tile at the end.
      const int64_t tiles = (left + kernel.max_rows - 1) / kernel.max_rows, height = (left + tiles - 1) / tiles;
      t.a = a + m * lda;
      for (int64_t panel = p0; panel < p1; panel++) {
        const int64_t n0 = panel * full;
        t.columns = int(std::min(full, job.N - n0));
        t.b = job.packed + n0 * job.K;
        t.bias = job.bias ? job.bias + n0 : nullptr;
        t.z = z ? z + m * ldz + n0 : nullptr;
        t.y = y + m * ldy + n0;
        kernel.tile[t.columns > kernel.lanes][height - 1](t);
      }
      if (after) {
        const int64_t n0 = p0 * full, n1 = std::min(job.N, p1 * full);
        const bool dense = n1 - n0 == ldy;  // narrow rows would waste most of their vectors
        const int64_t lines = dense ? 1 : height, length = dense ? height * ldy : n1 - n0;
        for (int64_t r = 0; r < lines; r++) {
          float* row = y + (m + r) * ldy + n0;
          unary_row_f32(*job.eltwise, int(job.act), row, row, length, job.alpha, job.beta);
        }
      }
      m += height;
      left -= height;
    }
  }
}

}  // namespace octavo
