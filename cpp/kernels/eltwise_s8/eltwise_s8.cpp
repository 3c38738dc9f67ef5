#include "kernels/eltwise_s8/eltwise_s8.h"

#include "kernels/registry.h"

namespace octavo {

const EltwiseS8& eltwise_s8(Isa isa) { return *static_cast<const EltwiseS8*>(find_kernel("eltwise_s8", isa)); }

}  // namespace octavo
