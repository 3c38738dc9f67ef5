// What Conv and MatMul share: packing B, cutting rows into tiles, the epilogue.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/math.h"
#include "kernels/eltwise_f32/eltwise_f32.h"
#include "kernels/gemm_f32/gemm_f32.h"

namespace octavo {

// Packed B: panels of two vectors (the last may have one), each [K][width], zero past column N.
int64_t gemm_f32_panels(const GemmF32& kernel, int64_t N);
int64_t gemm_f32_packed_floats(const GemmF32& kernel, int64_t K, int64_t N);
// B[k, n] is at b[k * stride_k + n * stride_n]. Packs panels [from, to).
void gemm_f32_pack(const GemmF32& kernel, const float* b, int64_t stride_k, int64_t stride_n, int64_t K, int64_t N,
                   int64_t from, int64_t to, float* packed);

// Everything about one product that does not depend on which rows are computed.
struct GemmF32Job {
  const GemmF32* kernel;
  const EltwiseF32* eltwise;
  const float* packed;
  int64_t K, N;
  const int64_t* segments;
  int64_t segment_count, segment_length;
  const float* bias;  // [N] or null
  UnaryFn act;
  float alpha, beta;
};

// Rows [0, rows) at a + m * lda, z and y likewise, for the panels [from, to).
void gemm_f32_rows(const GemmF32Job& job, const float* a, int64_t lda, const float* z, int64_t ldz, float* y,
                   int64_t ldy, int64_t rows, int64_t from, int64_t to);

}  // namespace octavo
