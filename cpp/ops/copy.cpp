#include "ops/copy.h"

#include <algorithm>
#include <cstring>

namespace octavo {
namespace {

constexpr int64_t kGrain = 96 << 10;  // bytes a chunk must at least move: some 10 us

// ---- the transposing tile: 16-byte vectors, one square of 16/sizeof(T) x 16/sizeof(T) elements
// -----------------------

template <class T>
struct Vec {
  typedef T type __attribute__((vector_size(16)));
};
using V8 = Vec<uint8_t>::type;
using V16 = Vec<uint16_t>::type;
using V32 = Vec<uint32_t>::type;
using V64 = Vec<uint64_t>::type;

inline V8 low(V8 a, V8 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline V8 high(V8 a, V8 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
inline V16 low(V16 a, V16 b) { return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline V16 high(V16 a, V16 b) { return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
inline V32 low(V32 a, V32 b) { return __builtin_shufflevector(a, b, 0, 4, 1, 5); }
inline V32 high(V32 a, V32 b) { return __builtin_shufflevector(a, b, 2, 6, 3, 7); }
inline V64 low(V64 a, V64 b) { return __builtin_shufflevector(a, b, 0, 2); }
inline V64 high(V64 a, V64 b) { return __builtin_shufflevector(a, b, 1, 3); }

// log2(B) rounds of interleaving row r with row r + B/2 transpose a B x B square.
template <class T>
inline void transpose_tile(const uint8_t* in, int64_t in_pitch, uint8_t* out, int64_t out_pitch) {
  using V = typename Vec<T>::type;
  constexpr int B = 16 / sizeof(T);
  V a[B], b[B];
#pragma GCC unroll 16
  for (int r = 0; r < B; r++) std::memcpy(&a[r], in + r * in_pitch, 16);
#pragma GCC unroll 4
  for (int round = 1; round < B; round *= 2) {
#pragma GCC unroll 8
    for (int r = 0; r < B / 2; r++) {
      b[2 * r] = low(a[r], a[r + B / 2]);
      b[2 * r + 1] = high(a[r], a[r + B / 2]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < B; r++) a[r] = b[r];
  }
#pragma GCC unroll 16
  for (int r = 0; r < B; r++) std::memcpy(out + r * out_pitch, &a[r], 16);
}

template <class T>
inline void move_one(const uint8_t* in, uint8_t* out) {
  T t;
  std::memcpy(&t, in, sizeof(T));
  std::memcpy(out, &t, sizeof(T));
}

template <class T>
void move_strided(const uint8_t* in, int64_t is, uint8_t* out, int64_t os, int64_t n) {
  for (int64_t i = 0; i < n; i++) move_one<T>(in + i * is, out + i * os);
}

// Few columns: a fixed number of planes is interleaved.
template <class T, int L>
void interleave(const uint8_t* in, int64_t is, uint8_t* out, int64_t os, int64_t rows) {
  for (int64_t j = 0; j < rows; j++)
    for (int l = 0; l < L; l++)
      move_one<T>(in + j * int64_t(sizeof(T)) + l * is, out + j * os + l * int64_t(sizeof(T)));
}

// out[j][l] = in[l][j]: j is contiguous in the input, l in the output; `is` is the pitch of l in the input, `os` that
// of j in the output.
template <class T>
void transpose_plane(const uint8_t* in, int64_t is, uint8_t* out, int64_t os, int64_t rows, int64_t cols) {
  constexpr int64_t S = sizeof(T), B = 16 / S, block = 64 / S;
  if (rows >= B && cols >= B) {
    // Whole cache lines of the input at a time; the last tile of each direction is moved back to overlap its neighbour.
    for (int64_t j0 = 0; j0 < rows; j0 += block) {
      const int64_t end = std::min(j0 + block, rows);
      for (int64_t l0 = 0; l0 < cols; l0 += B) {
        const int64_t l = std::min(l0, cols - B);
        for (int64_t j1 = j0; j1 < end; j1 += B) {
          const int64_t j = std::min(j1, rows - B);
          transpose_tile<T>(in + l * is + j * S, is, out + j * os + l * S, os);
        }
      }
    }
    return;
  }
  if (cols == 2) return interleave<T, 2>(in, is, out, os, rows);
  if (cols == 3) return interleave<T, 3>(in, is, out, os, rows);
  if (cols == 4) return interleave<T, 4>(in, is, out, os, rows);
  if (cols < B) {
    for (int64_t j0 = 0; j0 < rows; j0 += 512)
      for (int64_t l = 0; l < cols; l++)
        move_strided<T>(in + l * is + j0 * S, S, out + j0 * os + l * S, os, std::min<int64_t>(512, rows - j0));
    return;
  }
  for (int64_t j = 0; j < rows; j++) move_strided<T>(in + j * S, is, out + j * os, S, cols);
}

// ---- one chunk
// -------------------------------------------------------------------------------------------------------

struct Wide {
  uint64_t a, b;
};

using RowMove = void (*)(const uint8_t* in, int64_t is, uint8_t* out, int64_t os, int64_t n);
using PlaneMove = void (*)(const uint8_t* in, int64_t is, uint8_t* out, int64_t os, int64_t rows, int64_t cols);

RowMove row_move(size_t element) {
  switch (element) {
    case 1:
      return move_strided<uint8_t>;
    case 2:
      return move_strided<uint16_t>;
    case 4:
      return move_strided<uint32_t>;
    case 8:
      return move_strided<uint64_t>;
    case 16:
      return move_strided<Wide>;
    default:
      return nullptr;
  }
}

PlaneMove plane_move(size_t element) {
  switch (element) {
    case 1:
      return transpose_plane<uint8_t>;
    case 2:
      return transpose_plane<uint16_t>;
    case 4:
      return transpose_plane<uint32_t>;
    case 8:
      return transpose_plane<uint64_t>;
    default:
      return nullptr;
  }
}

// Steps through all index vectors of the axes listed, calling f(in offset, out offset).
template <class F>
void for_each_index(const CopyAxes& c, const int* axes, int count, F&& f) {
  int64_t index[CopyAxes::kMax] = {};
  int64_t in = 0, out = 0;
  for (;;) {
    f(in, out);
    int k = count - 1;
    for (; k >= 0; k--) {
      const int a = axes[k];
      in += c.in[a];
      out += c.out[a];
      if (++index[k] < c.dim[a]) break;
      in -= c.in[a] * c.dim[a];
      out -= c.out[a] * c.dim[a];
      index[k] = 0;
    }
    if (k < 0) return;
  }
}

// `c` is collapsed and has no empty axis.
void copy_chunk(const CopyAxes& c, size_t element, const uint8_t* in, uint8_t* out) {
  const int64_t e = int64_t(element);
  if (c.rank == 0) {
    std::memcpy(out, in, element);
    return;
  }
  const int last = c.rank - 1;
  int outer[CopyAxes::kMax], count = 0;
  const int64_t n = c.dim[last], is = c.in[last], os = c.out[last];

  if (is == e && os == e) {
    for (int a = 0; a < last; a++) outer[count++] = a;
    const size_t bytes = size_t(n * e);
    for_each_index(c, outer, count, [&](int64_t i, int64_t o) { std::memcpy(out + o, in + i, bytes); });
    return;
  }
  int contiguous = -1;  // the axis along which the input is contiguous
  for (int a = 0; a < last; a++)
    if (c.in[a] == e) contiguous = a;
  const PlaneMove plane = plane_move(element);
  if (contiguous >= 0 && os == e && plane) {
    for (int a = 0; a < last; a++)
      if (a != contiguous) outer[count++] = a;
    const int64_t rows = c.dim[contiguous], pitch = c.out[contiguous];
    for_each_index(c, outer, count, [&](int64_t i, int64_t o) { plane(in + i, is, out + o, pitch, rows, n); });
    return;
  }
  for (int a = 0; a < last; a++) outer[count++] = a;
  if (e == 1 && is == 0 && os == 1) {
    for_each_index(c, outer, count, [&](int64_t i, int64_t o) { std::memset(out + o, in[i], size_t(n)); });
    return;
  }
  const RowMove row = row_move(element);
  for_each_index(c, outer, count, [&](int64_t i, int64_t o) { row(in + i, is, out + o, os, n); });
}

// Drops axes of one, merges axes that run on into each other, and takes a short contiguous innermost axis as one wider
// element. False when there is nothing to copy.
bool collapse(CopyAxes& c, size_t& element) {
  CopyAxes r;
  for (int a = 0; a < c.rank; a++) {
    if (c.dim[a] == 0) return false;
    if (c.dim[a] == 1) continue;
    const int p = r.rank - 1;
    if (p >= 0 && r.in[p] == c.in[a] * c.dim[a] && r.out[p] == c.out[a] * c.dim[a]) {
      r.dim[p] *= c.dim[a];
      r.in[p] = c.in[a];
      r.out[p] = c.out[a];
    } else {
      r.add(c.dim[a], c.in[a], c.out[a]);
    }
  }
  if (r.rank > 1) {
    const int p = r.rank - 1;
    const int64_t e = int64_t(element), wide = e * r.dim[p];
    if (r.in[p] == e && r.out[p] == e && (wide == 2 || wide == 4 || wide == 8 || wide == 16)) {
      element = size_t(wide);
      r.rank--;
    }
  }
  c = r;
  return true;
}

}  // namespace

void copy_nd(CopyAxes axes, size_t element, const void* in, void* out) {
  if (collapse(axes, element)) copy_chunk(axes, element, static_cast<const uint8_t*>(in), static_cast<uint8_t*>(out));
}

void copy_nd(Region& pool, CopyAxes axes, size_t element, const void* in, void* out) {
  if (!collapse(axes, element)) return;
  const uint8_t* source = static_cast<const uint8_t*>(in);
  uint8_t* target = static_cast<uint8_t*>(out);
  const int64_t chunks = pool.chunks_for(axes.elements() * int64_t(element), kGrain);
  if (chunks <= 1 || axes.rank == 0) return copy_chunk(axes, element, source, target);
  int split = 0;  // the longest axis is cut
  for (int a = 1; a < axes.rank; a++)
    if (axes.dim[a] > axes.dim[split]) split = a;
  const int64_t n = axes.dim[split];
  int64_t part = (n + chunks - 1) / chunks;
  if (part > 64) part = (part + 63) / 64 * 64;  // whole tiles and cache lines
  pool.parallel_for((n + part - 1) / part, [&](int64_t chunk, int) {
    CopyAxes mine = axes;
    const int64_t from = chunk * part;
    mine.dim[split] = std::min(part, n - from);
    copy_chunk(mine, element, source + from * axes.in[split], target + from * axes.out[split]);
  });
}

void copy_bytes(Region& pool, size_t bytes, const void* in, void* out) {
  CopyAxes axes;
  axes.add(int64_t(bytes), 1, 1);
  copy_nd(pool, axes, 1, in, out);
}

Strides dense_strides(const Shape& shape, size_t element) {
  Strides s;
  int64_t stride = int64_t(element);
  for (int a = shape.rank - 1; a >= 0; a--) {
    s.of[a] = stride;
    stride *= shape.dim[a];
  }
  return s;
}

Strides strides_of(const View& v) {
  Strides s;
  const int64_t e = int64_t(size_of(v.dtype));
  const int64_t pitch[4] = {1, v.pixel_pitch, v.row_pitch, v.image_pitch};
  for (int a = v.shape.rank - 1, k = 0; a >= 0; a--, k++)
    s.of[a] = k < 4 ? pitch[k] * e : s.of[a + 1] * v.shape.dim[a + 1];
  return s;
}

int ints_of(const View& v, int64_t* values, int most, const std::string& node) {
  const int64_t n = v.elements();
  if (n > most)
    fail(ErrorKind::invalid_argument, "node '%s': a list of %lld numbers where at most %d fit", node.c_str(),
         (long long)n, most);
  for (int64_t i = 0; i < n; i++) values[i] = int_at(v, i);
  return int(n);
}

void check_arity(const BindContext& ctx, int least_inputs, int most_inputs, int least_outputs, int most_outputs) {
  const int inputs = int(ctx.inputs.size()), outputs = int(ctx.outputs.size());
  if (inputs < least_inputs || inputs > most_inputs)
    ctx.fail("%s takes %d to %d inputs, the step has %d", ctx.step.op.c_str(), least_inputs, most_inputs, inputs);
  if (outputs < least_outputs || outputs > most_outputs)
    ctx.fail("%s has %d to %d outputs, the step has %d", ctx.step.op.c_str(), least_outputs, most_outputs, outputs);
  for (int k = 0; k < least_inputs; k++)
    if (!ctx.has(k)) ctx.fail("input %d of %s must be present", k, ctx.step.op.c_str());
}

void check_same_dtype(const BindContext& ctx, int input, int output) {
  const DType from = ctx.inputs[size_t(input)].dtype, to = ctx.outputs[size_t(output)].dtype;
  if (size_of(from) == 0) ctx.fail("input %d has a dtype the core does not hold (%d)", input, int(from));
  if (ctx.outputs[size_t(output)].present && from != to)
    ctx.fail("output %d is declared %s, but must be %s like input %d", output, name_of(to), name_of(from), input);
}

void check_dtype(const BindContext& ctx, int output, DType dtype) {
  const DType declared = ctx.outputs[size_t(output)].dtype;
  if (declared != dtype)
    ctx.fail("output %d is declared %s, but must be %s", output, name_of(declared), name_of(dtype));
}

void check_index_dtype(const BindContext& ctx, int input) {
  const DType t = ctx.inputs[size_t(input)].dtype;
  if (t != DType::s32 && t != DType::s64) ctx.fail("input %d must be int32 or int64, it is %s", input, name_of(t));
}

void set_shape(InferContext& ctx, int k, const Shape& shape) {
  constexpr int64_t kMost = int64_t(1) << 40;
  int64_t n = 1;  // of the non-empty axes, so that any sub-product is safe as well
  for (int a = 0; a < shape.rank; a++) {
    const int64_t d = shape.dim[a];
    if (d < 0) ctx.fail("output %d would have the negative size %lld on axis %d", k, (long long)d, a);
    if (d > 0 && n > kMost / d) ctx.fail("output %d would have more than 2^40 elements", k);
    if (d > 0) n *= d;
  }
  if (int(ctx.out.size()) <= k) ctx.out.resize(size_t(k) + 1);
  ctx.out[size_t(k)] = shape;
}

std::vector<bool> axis_set(const std::vector<int64_t>& axes, int rank, const StepDef& step) {
  std::vector<bool> set(size_t(rank), false);
  for (int64_t axis : axes) {
    const int a = normal_axis(axis, rank, step);
    if (set[size_t(a)])
      fail(ErrorKind::invalid_model, "node '%s' (%s): axis %d is given twice", step.name.c_str(), step.op.c_str(), a);
    set[size_t(a)] = true;
  }
  return set;
}

bool read_axes(InferContext& ctx, int k, std::vector<int64_t>& axes, bool& given) {
  given = true;
  if (ctx.has(k)) return ctx.value(k, axes);
  given = ctx.step.has("axes");
  axes = given ? ctx.step.ints("axes") : std::vector<int64_t>();
  return true;
}

}  // namespace octavo
