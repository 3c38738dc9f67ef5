#include "kernels/reduce_f32/reduce_f32.h"
#include "kernels/simd/avx2_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "kernels/reduce_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const ReduceF32 reduce_f32_avx2 = {avx2::reduce_run, avx2::reduce_step, avx2::reduce_join};

}  // namespace octavo
