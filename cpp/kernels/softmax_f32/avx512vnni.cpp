#include "kernels/simd/avx512vnni_f32.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "core/unary_f32.inl"
#include "kernels/softmax_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const SoftmaxF32 softmax_f32_avx512vnni = {avx512vnni::softmax_rows, avx512vnni::softmax_scores,
                                                  avx512vnni::softmax_columns};

}  // namespace octavo
