// numpy's .npy files, versions 1.0 and 2.0 (the format is documented in numpy.lib.format).
#pragma once

#include <string>

#include "core/buffer.h"
#include "core/types.h"

namespace octavo {

struct Array {
  DType dtype = DType::none;
  Shape shape;
  Buffer memory;

  size_t bytes() const { return size_t(shape.elements()) * size_of(dtype); }
};

// Reads one array; an Error (io or invalid_argument) names the file and what is wrong with it. The header is parsed
// strictly and the file must be exactly as long as it says, before anything is allocated.
Array read_npy(const std::string& path);
// Raw bytes of a known type and shape; the file's size must match exactly.
Array read_raw(const std::string& path, DType dtype, const Shape& shape);
// Writes version 1.0 beside the target and renames it, so that a failed write leaves an old file in place.
void write_npy(const std::string& path, DType dtype, const Shape& shape, const void* data);

}  // namespace octavo
