#include "kernels/pool_fixed/pool_fixed.h"

#include "kernels/registry.h"

namespace octavo {

const PoolFixed& pool_fixed(Isa isa) { return *static_cast<const PoolFixed*>(find_kernel("pool_fixed", isa)); }

}  // namespace octavo
