#include "kernels/quantize/quantize.h"

#include "kernels/registry.h"

namespace octavo {

const QuantizeF32& quantize_f32(Isa isa) { return *static_cast<const QuantizeF32*>(find_kernel("quantize", isa)); }

}  // namespace octavo
