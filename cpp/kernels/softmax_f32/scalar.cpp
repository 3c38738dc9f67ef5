#include "kernels/simd/scalar_f32.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "core/unary_f32.inl"
#include "kernels/softmax_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const SoftmaxF32 softmax_f32_scalar = {scalar::softmax_rows, scalar::softmax_scores, scalar::softmax_columns};

}  // namespace octavo
