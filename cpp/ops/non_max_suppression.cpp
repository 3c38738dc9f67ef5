// NonMaxSuppression: for every image and class the boxes in the order of their scores (equal ones: in their own order)
// that overlap no box taken before them by more than iou_threshold. Rows of y: image, class, box.
//
// In float32, every operation rounded: corners are put in order; iou = inter / (area + area' - inter), and 0 where the
// intersection is empty. How many rows there are depends on the data: infer() selects to count, run() to write.
#include <algorithm>
#include <cstring>

#include "core/buffer.h"
#include "ops/copy.h"

namespace octavo {
namespace {

struct Box {
  float y1, x1, y2, x2, area;
};

Box box_of(const float* p, bool center) {
  float a = p[0], b = p[1], c = p[2], d = p[3];
  if (center) {
    const float half_w = c / 2.0f, half_h = d / 2.0f;
    a = p[1] - half_h, b = p[0] - half_w, c = p[1] + half_h, d = p[0] + half_w;
  }
  Box box{std::min(a, c), std::min(b, d), std::max(a, c), std::max(b, d), 0.0f};
  box.area = (box.y2 - box.y1) * (box.x2 - box.x1);
  return box;
}

bool overlap(const Box& a, const Box& b, float threshold) {
  const float h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1), w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  if (!(h > 0.0f) || !(w > 0.0f)) return false;
  const float inter = h * w;
  return inter / (a.area + b.area - inter) > threshold;
}

class NonMaxSuppression : public Op {
 public:
  explicit NonMaxSuppression(const BindContext& ctx) : center_(ctx.step.i("center_point_box", 0)) {
    check_arity(ctx, 2, 5);
    ctx.need(0, DType::f32);
    ctx.need(1, DType::f32);
    if (ctx.has(2)) check_index_dtype(ctx, 2);
    if (ctx.has(3)) ctx.need(3, DType::f32);
    if (ctx.has(4)) ctx.need(4, DType::f32);
    check_dtype(ctx, 0, DType::s64);
    if (center_ != 0 && center_ != 1) ctx.fail("center_point_box is %lld, expected 0 or 1", (long long)center_);
  }

  void infer(InferContext& ctx) const override {
    const Shape &boxes = ctx.in[0].shape, &scores = ctx.in[1].shape;
    if (boxes.rank != 3 || boxes.dim[2] != 4) ctx.fail("the boxes must have the shape [images, boxes, 4]");
    if (scores.rank != 3 || scores.dim[0] != boxes.dim[0] || scores.dim[2] != boxes.dim[1])
      ctx.fail("the scores must have the shape [images, classes, boxes] that goes with the boxes");
    for (int k = 2; k < int(ctx.in.size()); k++)
      if (ctx.has(k) && ctx.in[size_t(k)].elements() != 1) ctx.fail("input %d must be one number", k);
    for (int k = 0; k < int(ctx.in.size()); k++)
      if (ctx.has(k) && ctx.in[size_t(k)].data == nullptr && ctx.in[size_t(k)].elements() > 0) {
        ctx.need_value = true;
        return;
      }
    const Buffer scratch(bytes(scores));
    Shape y;
    y.rank = 2;
    y.dim[0] = select(ctx.in.data(), int(ctx.in.size()), scratch.as<uint8_t>(), nullptr, 0), y.dim[1] = 3;
    set_shape(ctx, 0, y);
  }

  size_t scratch_bytes(const View* in, const View*, int) const override { return bytes(in[1].shape); }

  void run(RunContext& ctx) const override {
    select(ctx.in, ctx.inputs, ctx.scratch, ctx.out[0].as<int64_t>(), ctx.out[0].shape.dim[0]);
  }

 private:
  static size_t bytes(const Shape& scores) {
    return scores.elements() == 0 ? 0 : size_t(scores.dim[2]) * (sizeof(int64_t) + sizeof(Box));
  }

  // Writes up to `most` rows to y where it is given; returns how many there are.
  int64_t select(const View* in, int inputs, uint8_t* scratch, int64_t* y, int64_t most) const {
    const auto given = [&](int k) { return k < inputs && in[k].dtype != DType::none; };
    const int64_t limit = given(2) ? int_at(in[2], 0) : 0;
    const float iou = given(3) ? *in[3].as<float>() : 0.0f;
    const Shape& s = in[1].shape;
    const int64_t images = s.dim[0], classes = s.dim[1], n = s.dim[2];
    if (images * classes * n == 0 || limit <= 0) return 0;
    int64_t* order = reinterpret_cast<int64_t*>(scratch);
    Box* taken = reinterpret_cast<Box*>(scratch + size_t(n) * sizeof(int64_t));
    int64_t rows = 0;
    for (int64_t i = 0; i < images * classes; i++) {
      const float *score = in[1].as<float>() + i * n, *boxes = in[0].as<float>() + i / classes * n * 4;
      int64_t count = 0, kept = 0;
      for (int64_t k = 0; k < n; k++)
        if (given(4) ? score[k] > *in[4].as<float>() : score[k] == score[k]) order[count++] = k;
      std::sort(order, order + count,
                [&](int64_t a, int64_t b) { return score[a] > score[b] || (score[a] == score[b] && a < b); });
      for (int64_t k = 0; k < count && kept < limit; k++) {
        const Box box = box_of(boxes + order[k] * 4, center_ != 0);
        bool free = true;
        for (int64_t j = 0; j < kept && free; j++) free = !overlap(taken[j], box, iou);
        if (!free) continue;
        taken[kept++] = box;
        if (y != nullptr && rows < most)
          y[rows * 3] = i / classes, y[rows * 3 + 1] = i % classes, y[rows * 3 + 2] = order[k];
        rows++;
      }
    }
    return rows;
  }

  int64_t center_;
};

}  // namespace

std::unique_ptr<Op> make_NonMaxSuppression(const BindContext& ctx) { return std::make_unique<NonMaxSuppression>(ctx); }

}  // namespace octavo
