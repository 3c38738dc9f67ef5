// The fixed scheme's words, AVX2.
#pragma once

#include "kernels/simd/avx2_i8.h"
#include "kernels/simd/fixed_avx2.inl"

namespace octavo::avx2 {
namespace {

OCTAVO_FIXED_X86(__m128i, _mm, si128, 0xA)
OCTAVO_FIXED_X86(__m256i, _mm256, si256, 0xAA)

using ScalesTwice = Twice_si256;
using ScalesOnce = Once_si256;

}  // namespace
}  // namespace octavo::avx2
