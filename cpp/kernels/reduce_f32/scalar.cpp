#include "kernels/reduce_f32/reduce_f32.h"
#include "kernels/simd/scalar_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "kernels/reduce_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const ReduceF32 reduce_f32_scalar = {scalar::reduce_run, scalar::reduce_step, scalar::reduce_join};

}  // namespace octavo
