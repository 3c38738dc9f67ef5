// ScatterElements, ScatterND: x with some elements (slices) replaced by updates, or joined with them by `reduction`:
// add, mul, max, min. Updates are applied in order, so that of several to one place the last one wins. GatherND: the
// slices that index vectors name. Negative indices count from the end; anything else outside is an Error.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "ops/copy.h"

namespace octavo {
namespace {

enum class Reduction { none, add, mul, max, min };

Reduction parse_reduction(const BindContext& ctx) {
  const std::string name = ctx.step.s("reduction", "none");
  const char* const names[] = {"none", "add", "mul", "max", "min"};
  for (int k = 0; k < 5; k++)
    if (name == names[k]) return Reduction(k);
  ctx.fail("attribute reduction: '%s' is not one of none, add, mul, max, min", name.c_str());
}

template <class T>
void merge(Reduction r, const void* update, void* to, int64_t n) {
  const T* u = static_cast<const T*>(update);
  T* y = static_cast<T*>(to);
  for (int64_t i = 0; i < n; i++) {
    const T a = y[i], b = u[i];
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<std::common_type_t<T, int>>;
      y[i] = r == Reduction::add   ? T(U(a) + U(b))
             : r == Reduction::mul ? T(U(a) * U(b))
             : r == Reduction::max ? std::max(a, b)
                                   : std::min(a, b);
    } else {  // a NaN of either side stays
      y[i] = r == Reduction::add   ? a + b
             : r == Reduction::mul ? a * b
             : r == Reduction::max ? (a > b || !(a == a) ? a : b)
                                   : (a < b || !(a == a) ? a : b);
    }
  }
}

using Merge = void (*)(Reduction, const void*, void*, int64_t);

Merge pick(DType t) {
  switch (t) {
    case DType::f32:
      return merge<float>;
    case DType::f64:
      return merge<double>;
    case DType::u8:
      return merge<uint8_t>;
    case DType::s8:
      return merge<int8_t>;
    case DType::u16:
      return merge<uint16_t>;
    case DType::s16:
      return merge<int16_t>;
    case DType::u32:
      return merge<uint32_t>;
    case DType::s32:
      return merge<int32_t>;
    case DType::u64:
      return merge<uint64_t>;
    case DType::s64:
      return merge<int64_t>;
    default:
      return nullptr;
  }
}

// Index i in [0, n), or an Error.
int64_t checked(const View& indices, int64_t i, int64_t n, const std::string& name, const char* op) {
  const int64_t v = int_at(indices, i);
  if (v < -n || v >= n)
    fail(ErrorKind::invalid_argument,
         "node '%s' (%s): index %lld (number %lld of its indices) is out of range for an axis of %lld elements",
         name.c_str(), op, (long long)v, (long long)i, (long long)n);
  return v < 0 ? v + n : v;
}

class Scatter : public Op {
 public:
  explicit Scatter(const BindContext& ctx) : name_(ctx.step.name), reduction_(parse_reduction(ctx)) {
    check_arity(ctx, 3, 3);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
    ctx.need(2, ctx.inputs[0].dtype);
    merge_ = pick(ctx.inputs[0].dtype);
    if (reduction_ != Reduction::none && !merge_) ctx.fail("%s cannot be reduced", name_of(ctx.inputs[0].dtype));
  }

  bool in_place(int k) const override { return k == 0; }

 protected:
  void copy_input(RunContext& ctx) const {
    if (ctx.in[0].data != ctx.out[0].data) copy_bytes(ctx.pool, ctx.in[0].bytes(), ctx.in[0].data, ctx.out[0].data);
  }
  void put(const uint8_t* update, uint8_t* to, int64_t n, size_t element) const {
    if (reduction_ == Reduction::none)
      std::memcpy(to, update, size_t(n) * element);
    else
      merge_(reduction_, update, to, n);
  }

  std::string name_;
  Reduction reduction_;
  Merge merge_ = nullptr;
};

class ScatterElements : public Scatter {
 public:
  explicit ScatterElements(const BindContext& ctx) : Scatter(ctx), axis_(ctx.step.i("axis", 0)) {}

  void infer(InferContext& ctx) const override {
    const Shape &x = ctx.in[0].shape, &indices = ctx.in[1].shape;
    const int axis = normal_axis(axis_, x.rank, ctx.step);
    if (indices != ctx.in[2].shape) ctx.fail("the indices and the updates must have the same shape");
    if (indices.rank != x.rank) ctx.fail("the indices have %d dimensions, the data %d", indices.rank, x.rank);
    for (int a = 0; a < x.rank; a++)
      if (a != axis && indices.dim[a] > x.dim[a])
        ctx.fail("axis %d: %lld indices for %lld elements", a, (long long)indices.dim[a], (long long)x.dim[a]);
    set_shape(ctx, 0, x);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &indices = ctx.in[1];
    const int rank = x.shape.rank, axis = int(axis_ < 0 ? axis_ + rank : axis_);
    const int64_t count = indices.elements(), n = x.shape.dim[axis];
    for (int64_t i = 0; i < count; i++) checked(indices, i, n, name_, "ScatterElements");
    copy_input(ctx);
    const size_t element = size_of(x.dtype);
    const Strides stride = dense_strides(x.shape, element);
    for (int64_t i = 0; i < count; i++) {
      int64_t at = 0, rest = i;
      for (int a = rank - 1; a >= 0; a--) {
        if (a != axis) at += rest % indices.shape.dim[a] * stride.of[a];
        rest /= indices.shape.dim[a];
      }
      at += checked(indices, i, n, name_, "ScatterElements") * stride.of[axis];
      put(ctx.in[2].as<uint8_t>() + size_t(i) * element, ctx.out[0].as<uint8_t>() + at, 1, element);
    }
  }

 private:
  int64_t axis_;
};

// How index vectors of length q address slices of x behind its first `batch` axes.
struct Slices {
  int64_t batches, vectors, q, slice;  // vectors: per batch
  int64_t dim[kMaxRank], stride[kMaxRank], batch_stride;

  Slices(const Shape& x, const Shape& indices, int batch) {
    q = indices[-1];
    batches = x.span(0, batch);
    vectors = indices.span(batch, indices.rank - 1);
    const int from = batch + int(q);
    slice = x.span(from, x.rank);
    int64_t step = slice;
    for (int a = from - 1; a >= batch; a--) {
      dim[a - batch] = x.dim[a];
      stride[a - batch] = step;
      step *= x.dim[a];
    }
    batch_stride = step;
  }
  // Where the slice of index vector i begins, in elements.
  int64_t at(const View& indices, int64_t i, const std::string& name, const char* op) const {
    int64_t place = i / vectors * batch_stride;
    for (int64_t j = 0; j < q; j++) place += checked(indices, i * q + j, dim[j], name, op) * stride[j];
    return place;
  }
};

// The output of GatherND, the updates of ScatterND: indices without the last axis, then what they leave of x.
Shape slices_shape(InferContext& ctx, const Shape& x, const Shape& indices, int batch) {
  if (x.rank < 1 || indices.rank < 1) ctx.fail("the data and the indices need at least one dimension");
  if (batch < 0 || batch >= x.rank || batch >= indices.rank)
    ctx.fail("batch_dims is %d, with %d dimensions of data and %d of indices", batch, x.rank, indices.rank);
  for (int a = 0; a < batch; a++)
    if (x.dim[a] != indices.dim[a])
      ctx.fail("batch axis %d has %lld elements of data, %lld of indices", a, (long long)x.dim[a],
               (long long)indices.dim[a]);
  const int64_t q = indices[-1];
  if (q < 0 || q > x.rank - batch)
    ctx.fail("the index vectors have %lld elements, the data has %d axes for them", (long long)q, x.rank - batch);
  if (indices.rank - 1 + x.rank - batch - q > kMaxRank) ctx.fail("the result would have more than %d axes", kMaxRank);
  Shape y;
  for (int a = 0; a < indices.rank - 1; a++) y.dim[y.rank++] = indices.dim[a];
  for (int a = batch + int(q); a < x.rank; a++) y.dim[y.rank++] = x.dim[a];
  return y;
}

class ScatterND : public Scatter {
 public:
  explicit ScatterND(const BindContext& ctx) : Scatter(ctx) {}

  void infer(InferContext& ctx) const override {
    const Shape updates = slices_shape(ctx, ctx.in[0].shape, ctx.in[1].shape, 0);
    if (updates != ctx.in[2].shape) ctx.fail("the updates' shape does not follow from the data and the indices");
    set_shape(ctx, 0, ctx.in[0].shape);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &indices = ctx.in[1];
    const Slices s(x.shape, indices.shape, 0);
    // Empty index vectors cost no memory, so there may be 2^40 of them.
    for (int64_t i = 0; i < s.vectors && s.q > 0; i++) s.at(indices, i, name_, "ScatterND");
    copy_input(ctx);
    const size_t element = size_of(x.dtype);
    if (s.slice == 0) return;
    for (int64_t i = 0; i < s.vectors; i++)
      put(ctx.in[2].as<uint8_t>() + size_t(i * s.slice) * element,
          ctx.out[0].as<uint8_t>() + size_t(s.at(indices, i, name_, "ScatterND")) * element, s.slice, element);
  }
};

class GatherND : public Op {
 public:
  explicit GatherND(const BindContext& ctx) : name_(ctx.step.name), batch_(ctx.step.i("batch_dims", 0)) {
    check_arity(ctx, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
    if (batch_ < 0 || batch_ >= kMaxRank) ctx.fail("batch_dims is %lld", (long long)batch_);
  }

  void infer(InferContext& ctx) const override {
    set_shape(ctx, 0, slices_shape(ctx, ctx.in[0].shape, ctx.in[1].shape, int(batch_)));
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &indices = ctx.in[1], &y = ctx.out[0];
    if (y.elements() == 0) return;
    const Slices s(x.shape, indices.shape, int(batch_));
    const size_t bytes = size_t(s.slice) * size_of(x.dtype);
    const int64_t count = s.batches * s.vectors;
    for (int64_t i = 0; i < count; i++)
      std::memcpy(y.as<uint8_t>() + size_t(i) * bytes,
                  x.as<uint8_t>() + size_t(s.at(indices, i, name_, "GatherND")) * size_of(x.dtype), bytes);
  }

 private:
  std::string name_;
  int64_t batch_;
};

}  // namespace

std::unique_ptr<Op> make_ScatterElements(const BindContext& ctx) { return std::make_unique<ScatterElements>(ctx); }
std::unique_ptr<Op> make_ScatterND(const BindContext& ctx) { return std::make_unique<ScatterND>(ctx); }
std::unique_ptr<Op> make_GatherND(const BindContext& ctx) { return std::make_unique<GatherND>(ctx); }

}  // namespace octavo
