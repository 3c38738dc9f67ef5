#include "kernels/gemm_f32/gemm_f32.h"
#include "kernels/simd/avx512vnni_f32.h"

namespace octavo {
namespace avx512vnni {
namespace {
#include "kernels/gemm_f32/tile.inl"
}  // namespace
}  // namespace avx512vnni

extern const GemmF32 gemm_f32_avx512vnni = {
    avx512vnni::kLanes,
    14,
    {{avx512vnni::gemm_tile<1, 1>, avx512vnni::gemm_tile<2, 1>, avx512vnni::gemm_tile<3, 1>,
      avx512vnni::gemm_tile<4, 1>, avx512vnni::gemm_tile<5, 1>, avx512vnni::gemm_tile<6, 1>,
      avx512vnni::gemm_tile<7, 1>, avx512vnni::gemm_tile<8, 1>, avx512vnni::gemm_tile<9, 1>,
      avx512vnni::gemm_tile<10, 1>, avx512vnni::gemm_tile<11, 1>, avx512vnni::gemm_tile<12, 1>,
      avx512vnni::gemm_tile<13, 1>, avx512vnni::gemm_tile<14, 1>},
     {avx512vnni::gemm_tile<1, 2>, avx512vnni::gemm_tile<2, 2>, avx512vnni::gemm_tile<3, 2>,
      avx512vnni::gemm_tile<4, 2>, avx512vnni::gemm_tile<5, 2>, avx512vnni::gemm_tile<6, 2>,
      avx512vnni::gemm_tile<7, 2>, avx512vnni::gemm_tile<8, 2>, avx512vnni::gemm_tile<9, 2>,
      avx512vnni::gemm_tile<10, 2>, avx512vnni::gemm_tile<11, 2>, avx512vnni::gemm_tile<12, 2>,
      avx512vnni::gemm_tile<13, 2>, avx512vnni::gemm_tile<14, 2>}}};

}  // namespace octavo
