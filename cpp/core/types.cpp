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
