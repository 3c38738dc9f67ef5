#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/avx512vnni_i8.h"

namespace octavo {
namespace avx512vnni {
namespace {

#include "kernels/eltwise_s8/tile.inl"

constexpr EltwiseS8 kTable = {"avx512vnni", add<false>, add<true>, mul<false>, mul<true>};

}  // namespace
}  // namespace avx512vnni

extern const EltwiseS8 eltwise_s8_avx512vnni;
const EltwiseS8 eltwise_s8_avx512vnni = avx512vnni::kTable;

}  // namespace octavo
