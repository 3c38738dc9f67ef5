// What the operators over the u8 x s8 kernels share: rows of a view, input copies and the fused epilogue.
#pragma once

#include <vector>

#include "kernels/gemm_s8/driver.h"
#include "ops/qconv.h"

namespace octavo {

// The rows of [.., M, K]: strides are those of the view, for element sizes of one byte in bytes.
GemmS8Rows rows_of(const View& v);

// The driver's epilogue for `e`; z is the residual input's view or null, fixed what adds it in the fixed scheme.
GemmS8Epilogue gemm_epilogue(const QEpilogue& e, const View* z, const LutS8* lut, const EltwiseS8* adder,
                             const EltwiseFixed* fixed);

// Weights of channels [first, first + count) out of `q`, as segments; natural: for f32 outputs.
GemmS8Weights gemm_weights(const QWeights& q, int64_t first, int64_t count, int64_t segments, int64_t length,
                           int64_t inner, bool natural);

// Whether kernels would read behind the caller's memory: rows of k bytes are read in groups of four.
inline bool overreads(const View& x, int64_t k) { return x.external && k % 4 != 0; }

// Rows of a view of [.., M, K] to a dense copy, each byte xor `flip`.
void copy_rows(Region& pool, const View& x, uint8_t flip, uint8_t* to);

}  // namespace octavo
