// The avxvnni kernels once more, encoded for CPUs that have their instruction with AVX-512 only.
#define OCTAVO_TEST_TABLE
#include "kernels/gemm_s8/avxvnni.cpp"
