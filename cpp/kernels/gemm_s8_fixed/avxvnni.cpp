// gemm_s8's kernels with the fixed scheme's epilogue.
#define OCTAVO_FIXED
#include "kernels/simd/avx2_fixed.h"

#include "kernels/gemm_s8/avxvnni.cpp"
