#include "kernels/reduce_f32/reduce_f32.h"
#include "kernels/simd/avx512vnni_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "kernels/reduce_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const ReduceF32 reduce_f32_avx512vnni = {avx512vnni::reduce_run, avx512vnni::reduce_step,
                                                avx512vnni::reduce_join};

}  // namespace octavo
