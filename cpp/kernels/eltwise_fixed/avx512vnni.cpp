#include "kernels/eltwise_fixed/eltwise_fixed.h"
#include "kernels/simd/avx512vnni_fixed.h"

namespace octavo {
namespace avx512vnni {
namespace {

#include "kernels/eltwise_fixed/tile.inl"

constexpr EltwiseFixed kTable = {"avx512vnni", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx512vnni

extern const EltwiseFixed eltwise_fixed_avx512vnni;
const EltwiseFixed eltwise_fixed_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
