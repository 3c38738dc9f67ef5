#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/simd/avx2_f32.h"

namespace octavo {
namespace avx2 {
namespace {
#include "kernels/gemm_f32/tile.inl"
}  // namespace
}  // namespace avx2

extern const GemmF32 gemm_f32_avx2 = {avx2::kLanes,
                                      6,
                                      {{avx2::gemm_tile<1, 1>, avx2::gemm_tile<2, 1>, avx2::gemm_tile<3, 1>,
                                        avx2::gemm_tile<4, 1>, avx2::gemm_tile<5, 1>, avx2::gemm_tile<6, 1>},
                                       {avx2::gemm_tile<1, 2>, avx2::gemm_tile<2, 2>, avx2::gemm_tile<3, 2>,
                                        avx2::gemm_tile<4, 2>, avx2::gemm_tile<5, 2>, avx2::gemm_tile<6, 2>}}};

}  // namespace octavo
