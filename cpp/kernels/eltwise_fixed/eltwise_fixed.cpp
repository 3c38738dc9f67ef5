#include "kernels/eltwise_fixed/eltwise_fixed.h"

#include "kernels/registry.h"

namespace octavo {

const EltwiseFixed& eltwise_fixed(Isa isa) {
  return *static_cast<const EltwiseFixed*>(find_kernel("eltwise_fixed", isa));
}

}  // namespace octavo
