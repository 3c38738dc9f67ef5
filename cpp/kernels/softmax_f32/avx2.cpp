#include "kernels/simd/avx2_f32.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "core/unary_f32.inl"
#include "kernels/softmax_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const SoftmaxF32 softmax_f32_avx2 = {avx2::softmax_rows, avx2::softmax_scores, avx2::softmax_columns};

}  // namespace octavo
