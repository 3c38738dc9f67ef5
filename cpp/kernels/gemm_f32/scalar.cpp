#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/simd/scalar_f32.h"

namespace octavo {
namespace scalar {
namespace {
#include "kernels/gemm_f32/tile.inl"
}  // namespace
}  // namespace scalar

extern const GemmF32 gemm_f32_scalar = {
    scalar::kLanes,
    4,
    {{scalar::gemm_tile<1, 1>, scalar::gemm_tile<2, 1>, scalar::gemm_tile<3, 1>, scalar::gemm_tile<4, 1>},
     {scalar::gemm_tile<1, 2>, scalar::gemm_tile<2, 2>, scalar::gemm_tile<3, 2>, scalar::gemm_tile<4, 2>}}};

}  // namespace octavo
