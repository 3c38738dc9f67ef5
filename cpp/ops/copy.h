// Strided n-dimensional copies: what Transpose, Slice, Concat, Split, Pad, Expand, Tile, ... all come down to.
#pragma once

#include <string>
#include <vector>

#include "ops/op.h"

namespace octavo {

// out[sum i_a * out_stride_a] = in[sum i_a * in_stride_a] for every index vector i. Strides are in bytes; an input
// stride may be zero (broadcast) or negative (reversed). Axes go from the slowest to the fastest one of the output.
struct CopyAxes {
  static constexpr int kMax = 2 * kMaxRank;
  int rank = 0;
  int64_t dim[kMax] = {}, in[kMax] = {}, out[kMax] = {};

  void add(int64_t n, int64_t in_stride, int64_t out_stride) {
    dim[rank] = n;
    in[rank] = in_stride;
    out[rank] = out_stride;
    rank++;
  }
  int64_t elements() const {
    int64_t n = 1;
    for (int a = 0; a < rank; a++) n *= dim[a];
    return n;
  }
};

// Byte strides of a view, axis by axis (honours pitches).
struct Strides {
  int64_t of[kMaxRank] = {};
};
Strides strides_of(const View& v);
// Byte strides of a dense row-major tensor.
Strides dense_strides(const Shape& shape, size_t element);

// Copies elements of `element` bytes; regions must not overlap. Cut into chunks over the pool when it is worth it.
void copy_nd(Region& pool, CopyAxes axes, size_t element, const void* in, void* out);
// The same on the calling thread.
void copy_nd(CopyAxes axes, size_t element, const void* in, void* out);
// A dense copy of `bytes` bytes, in chunks over the pool.
void copy_bytes(Region& pool, size_t bytes, const void* in, void* out);

// Element i of an s32 or s64 tensor.
inline int64_t int_at(const View& v, int64_t i) {
  return v.dtype == DType::s32 ? int64_t(v.as<int32_t>()[i]) : v.as<int64_t>()[i];
}
// The first elements of an s32 or s64 vector; fails when there are more than `most`.
int ints_of(const View& v, int64_t* values, int most, const std::string& node);

// What every operator of this folder's typeless half checks in make().
void check_arity(const BindContext& ctx, int least_inputs, int most_inputs, int least_outputs = 1,
                 int most_outputs = 1);
void check_same_dtype(const BindContext& ctx, int input, int output);  // also: a dtype the core holds
void check_dtype(const BindContext& ctx, int output, DType dtype);
void check_index_dtype(const BindContext& ctx, int input);  // s32 or s64

// Sets output k; an Error when the shape has negative sizes or is absurdly large (2^40 elements and more).
void set_shape(InferContext& ctx, int k, const Shape& shape);
// The distinct axes, normalised into [0, rank) and marked in the result.
std::vector<bool> axis_set(const std::vector<int64_t>& axes, int rank, const StepDef& step);

// Axes as attribute or as input k: Squeeze, Unsqueeze, ... `given` is false when neither is there. Returns false when
// the input's value is not known yet.
bool read_axes(InferContext& ctx, int k, std::vector<int64_t>& axes, bool& given);

}  // namespace octavo
