#include "kernels/pool_s8/pool_s8.h"

#include "kernels/registry.h"

namespace octavo {

const PoolS8& pool_s8(Isa isa) { return *static_cast<const PoolS8*>(find_kernel("pool_s8", isa)); }

}  // namespace octavo
