#include "core/types.h"

namespace octavo {

const char* name_of(DType t) {
  switch (t) {
    case DType::f32:
      return "float32";
    case DType::u8:
      return "uint8";
    case DType::s8:
      return "int8";
    case DType::u16:
      return "uint16";
    case DType::s16:
      return "int16";
    case DType::s32:
      return "int32";
    case DType::s64:
      return "int64";
    case DType::boolean:
      return "bool";
    case DType::f16:
      return "float16";
    case DType::f64:
      return "float64";
    case DType::u32:
      return "uint32";
    case DType::u64:
      return "uint64";
    case DType::bf16:
      return "bfloat16";
    case DType::f8e4m3fn:
      return "float8_e4m3fn";
    case DType::f8e4m3fnuz:
      return "float8_e4m3fnuz";
    case DType::f8e5m2:
      return "float8_e5m2";
    case DType::f8e5m2fnuz:
      return "float8_e5m2fnuz";
    case DType::u4:
      return "uint4";
    case DType::s4:
      return "int4";
    case DType::f4e2m1:
      return "float4_e2m1fn";
    case DType::f8e8m0:
      return "float8_e8m0fnu";
    case DType::u2:
      return "uint2";
    case DType::s2:
      return "int2";
    case DType::f6e2m3:
      return "float6_e2m3fn";
    case DType::f6e3m2:
      return "float6_e3m2fn";
    default:
      return "unknown type";
  }
}

void View::set_dense_pitches() {
  pixel_pitch = shape.rank > 0 ? shape[-1] : 1;
  row_pitch = pixel_pitch * (shape.rank > 1 ? shape[-2] : 1);
  image_pitch = row_pitch * (shape.rank > 2 ? shape[-3] : 1);
}

bool View::dense() const {
  View d = *this;
  d.set_dense_pitches();
  return d.pixel_pitch == pixel_pitch && d.row_pitch == row_pitch && d.image_pitch == image_pitch;
}

}  // namespace octavo
