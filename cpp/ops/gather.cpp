// Gather: y[.., i.., ..] = x[.., indices[i..], ..] along `axis`. GatherElements: y[i] = x[i with axis replaced by
// indices[i]]. Gather takes weights stored small, too (restore.h, further inputs from 2 on). Negative indices count
// from the end; anything else outside the axis is an Error.
#include <algorithm>
#include <cstring>

#include "ops/copy.h"
#include "ops/restore.h"

namespace octavo {
namespace {

constexpr int64_t kGrain = 48 << 10;  // bytes moved by a chunk

// Every index must be in [-n, n); looked at before anything is written.
template <class I>
void check_indices(const View& indices, int64_t n, const std::string& name, const char* op) {
  const I* index = indices.as<I>();
  const int64_t count = indices.elements();
  for (int64_t i = 0; i < count; i++)
    if (index[i] < -n || index[i] >= n)
      fail(ErrorKind::invalid_argument,
           "node '%s' (%s): index %lld (number %lld of its indices) is out of range for an axis of %lld elements",
           name.c_str(), op, (long long)index[i], (long long)i, (long long)n);
}

void check_indices(const View& indices, int64_t n, const std::string& name, const char* op) {
  if (indices.dtype == DType::s32)
    check_indices<int32_t>(indices, n, name, op);
  else
    check_indices<int64_t>(indices, n, name, op);
}

inline int64_t index_at(const View& indices, int64_t i, int64_t n) {
  const int64_t v = int_at(indices, i);
  return v < 0 ? v + n : v;
}

void copy_element(uint8_t* to, const uint8_t* from, size_t bytes) {
  switch (bytes) {
    case 1:
      *to = *from;
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, bytes);
  }
}

class Gather : public Op {
 public:
  explicit Gather(const BindContext& ctx) : name_(ctx.step.name), axis_(ctx.step.i("axis", 0)) {
    const bool restores = Restored::wanted(ctx);
    check_arity(ctx, 2, restores ? 5 : 2);
    check_index_dtype(ctx, 1);
    if (!restores) {
      check_same_dtype(ctx, 0, 0);
      return;
    }
    check_dtype(ctx, 0, DType::f32);
    restored_ = std::make_unique<Restored>(ctx, 0, 2);
    if (axis_ != 0) ctx.fail("rows of weights stored small are gathered along axis 0 only, not %lld", (long long)axis_);
  }

  void infer(InferContext& ctx) const override {
    const Shape x = restored_ ? restored_->shape() : ctx.in[0].shape, &indices = ctx.in[1].shape;
    if (x.rank == 0) ctx.fail("a scalar has no axis to gather from");
    const int axis = normal_axis(axis_, x.rank, ctx.step);
    if (x.rank - 1 + indices.rank > kMaxRank)
      ctx.fail("the output would have rank %d, at most %d are possible", x.rank - 1 + indices.rank, kMaxRank);
    Shape y;
    for (int a = 0; a < axis; a++) y.dim[y.rank++] = x.dim[a];
    for (int a = 0; a < indices.rank; a++) y.dim[y.rank++] = indices.dim[a];
    for (int a = axis + 1; a < x.rank; a++) y.dim[y.rank++] = x.dim[a];
    set_shape(ctx, 0, y);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &indices = ctx.in[1], &y = ctx.out[0];
    if (y.elements() == 0) return;
    if (restored_) return restore(ctx);
    const int axis = int(axis_ < 0 ? axis_ + x.shape.rank : axis_);
    const int64_t n = x.shape.dim[axis], count = indices.elements(), rows = x.shape.span(0, axis) * count;
    const size_t row = size_t(x.shape.span(axis + 1, x.shape.rank)) * size_of(x.dtype);
    check_indices(indices, n, name_, "Gather");
    const uint8_t* source = x.as<uint8_t>();
    uint8_t* target = y.as<uint8_t>();
    const int64_t chunks = ctx.pool.chunks_for(rows * int64_t(row + 8), kGrain);
    auto part = [&](int64_t chunk) {
      const int64_t from = rows * chunk / chunks, to = rows * (chunk + 1) / chunks;
      int64_t outer = from / count, i = from % count;
      for (int64_t r = from; r < to; r++) {
        copy_element(target + size_t(r) * row, source + size_t(outer * n + index_at(indices, i, n)) * row, row);
        if (++i == count) i = 0, outer++;
      }
    };
    if (chunks <= 1)
      part(0);
    else
      ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) { part(chunk); });
  }

 private:
  void restore(RunContext& ctx) const {
    const View& indices = ctx.in[1];
    const int64_t n = restored_->rows(), rows = indices.elements(), columns = restored_->columns();
    check_indices(indices, n, name_, "Gather");
    const int64_t chunks = std::min(rows, ctx.pool.chunks_for(rows * columns, 16 << 10));
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t r = rows * chunk / chunks; r < rows * (chunk + 1) / chunks; r++)
        restored_->row(index_at(indices, r, n), 0, columns, ctx.out[0].as<float>() + r * columns);
    });
  }

  std::string name_;
  int64_t axis_;
  std::unique_ptr<Restored> restored_;
};

class GatherElements : public Op {
 public:
  explicit GatherElements(const BindContext& ctx) : name_(ctx.step.name), axis_(ctx.step.i("axis", 0)) {
    check_arity(ctx, 2, 2);
    check_same_dtype(ctx, 0, 0);
    check_index_dtype(ctx, 1);
  }

  void infer(InferContext& ctx) const override {
    const Shape &x = ctx.in[0].shape, &indices = ctx.in[1].shape;
    if (x.rank == 0 || indices.rank != x.rank)
      ctx.fail("data and indices must have the same rank, at least 1; they have %d and %d", x.rank, indices.rank);
    const int axis = normal_axis(axis_, x.rank, ctx.step);
    for (int a = 0; a < x.rank; a++)
      if (a != axis && indices.dim[a] > x.dim[a])
        ctx.fail("the indices have %lld elements on axis %d, more than the data's %lld", (long long)indices.dim[a], a,
                 (long long)x.dim[a]);
    set_shape(ctx, 0, indices);
  }

  void run(RunContext& ctx) const override {
    const View &x = ctx.in[0], &indices = ctx.in[1], &y = ctx.out[0];
    if (y.elements() == 0) return;
    const int rank = x.shape.rank, axis = int(axis_ < 0 ? axis_ + rank : axis_), last = rank - 1;
    const int64_t n = x.shape.dim[axis];
    check_indices(indices, n, name_, "GatherElements");
    const size_t element = size_of(x.dtype);
    const Strides from = dense_strides(x.shape, element);
    const uint8_t* source = x.as<uint8_t>();
    uint8_t* target = y.as<uint8_t>();
    const int64_t cols = y.shape.dim[last], rows = y.shape.span(0, last);
    auto one = [&](int64_t r) {
      int64_t base = 0, rest = r;  // where row r of the output begins in the data, the gathered axis left out
      for (int a = last - 1; a >= 0; a--) {
        if (a != axis) base += rest % y.shape.dim[a] * from.of[a];
        rest /= y.shape.dim[a];
      }
      for (int64_t c = 0; c < cols; c++) {
        const int64_t at =
            base + index_at(indices, r * cols + c, n) * from.of[axis] + (axis == last ? 0 : c * from.of[last]);
        copy_element(target + size_t(r * cols + c) * element, source + at, element);
      }
    };
    const int64_t chunks = std::min(rows, ctx.pool.chunks_for(rows * cols * 8, kGrain));
    if (chunks <= 1) {
      for (int64_t r = 0; r < rows; r++) one(r);
      return;
    }
    ctx.pool.parallel_for(chunks, [&](int64_t chunk, int) {
      for (int64_t r = rows * chunk / chunks; r < rows * (chunk + 1) / chunks; r++) one(r);
    });
  }

 private:
  std::string name_;
  int64_t axis_;
};

}  // namespace

std::unique_ptr<Op> make_Gather(const BindContext& ctx) { return std::make_unique<Gather>(ctx); }
std::unique_ptr<Op> make_GatherElements(const BindContext& ctx) { return std::make_unique<GatherElements>(ctx); }

}  // namespace octavo
