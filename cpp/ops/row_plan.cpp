#include "ops/row_plan.h"

#include "ops/copy.h"

namespace octavo {
namespace {

struct Axis {
  int64_t n, stride[RowPlan::kOperands];
};

int64_t stride_on(const View& v, const Strides& s, int axis_from_end) {
  if (axis_from_end > v.shape.rank || v.shape[-axis_from_end] == 1) return 0;
  return s.of[v.shape.rank - axis_from_end];
}

bool row_like(const Axis& a) {
  return a.stride[0] == 1 && a.stride[1] >= 0 && a.stride[1] <= 1 && a.stride[2] >= 0 && a.stride[2] <= 1;
}

}  // namespace

RowPlan plan_rows(const View& y, const View& a, const View* b) {
  const View& second = b ? *b : a;
  const Strides sy = strides_of(y), sa = strides_of(a), sb = strides_of(second);
  // Axes from the slowest to the fastest, without those of size one; neighbours that step alike become one.
  Axis axes[kMaxRank + 1];
  int rank = 0;
  for (int i = y.shape.rank; i >= 1; i--) {
    const int64_t n = y.shape[-i];
    if (n == 1) continue;
    const Axis next = {n, {stride_on(y, sy, i), stride_on(a, sa, i), stride_on(second, sb, i)}};
    bool merges = rank > 0;
    for (int k = 0; merges && k < RowPlan::kOperands; k++) merges = axes[rank - 1].stride[k] == next.stride[k] * n;
    if (merges) {
      const int64_t before = axes[rank - 1].n;
      axes[rank - 1] = next;
      axes[rank - 1].n *= before;
    } else {
      axes[rank++] = next;
    }
  }
  if (rank == 0 || !row_like(axes[rank - 1])) axes[rank++] = {1, {1, 1, 1}};

  RowPlan p;
  const Axis& last = axes[rank - 1];
  p.cols = last.n;
  for (int k = 0; k < RowPlan::kOperands; k++) p.repeated[k] = last.stride[k] == 0;
  if (rank > 1) {
    p.rows = axes[rank - 2].n;
    for (int k = 0; k < RowPlan::kOperands; k++) p.row_stride[k] = axes[rank - 2].stride[k];
  }
  p.outer_rank = std::max(0, rank - 2);
  for (int i = 0; i < p.outer_rank; i++) {
    p.outer[i] = axes[i].n;
    p.outer_size *= axes[i].n;
    for (int k = 0; k < RowPlan::kOperands; k++) p.outer_stride[i][k] = axes[i].stride[k];
  }
  return p;
}

}  // namespace octavo
