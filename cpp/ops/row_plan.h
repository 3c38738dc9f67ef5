// Elementwise operators as rows: broadcasting and pitches of up to three byte tensors boiled down to rows of
// contiguous (or repeated) elements, as long as possible.
#pragma once

#include <algorithm>

#include "core/thread_pool.h"
#include "core/types.h"

namespace octavo {

struct RowPlan {
  static constexpr int kOperands = 3;  // 0 is the output
  int outer_rank = 0;
  int64_t outer[kMaxRank] = {}, outer_stride[kMaxRank][kOperands] = {};
  int64_t outer_size = 1;
  int64_t rows = 1, row_stride[kOperands] = {};
  int64_t cols = 0;
  bool repeated[kOperands] = {};  // the operand's row is one value

  // Calls row(y, a, b offsets, rows, first column, columns) over the pool; grain: elements a chunk must at least have.
  template <class F>
  void run(Region& pool, int64_t grain, F&& f) const {
    constexpr int64_t kPiece = 1 << 14;
    const int64_t pieces = std::max<int64_t>(1, (cols + kPiece - 1) / kPiece), units = outer_size * rows * pieces;
    if (units == 0 || cols == 0) return;
    const int64_t chunks = std::min(units, pool.chunks_for(outer_size * rows * cols, grain));
    pool.parallel_for(chunks, [&](int64_t chunk, int) {
      int64_t u = units * chunk / chunks;
      const int64_t end = units * (chunk + 1) / chunks;
      while (u < end) {
        const int64_t piece = u % pieces, row = u / pieces % rows;
        const int64_t count = pieces == 1 ? std::min(rows - row, end - u) : 1;
        int64_t at[kOperands];
        offsets(u / pieces / rows, row, piece * kPiece, at);
        f(at, count, std::min(kPiece, cols - piece * kPiece));
        u += count;
      }
    });
  }

 private:
  void offsets(int64_t o, int64_t row, int64_t col, int64_t* at) const {
    for (int k = 0; k < kOperands; k++) at[k] = row * row_stride[k] + (repeated[k] ? 0 : col);
    for (int i = outer_rank - 1; i >= 0; i--) {
      const int64_t index = o % outer[i];
      o /= outer[i];
      for (int k = 0; k < kOperands; k++) at[k] += index * outer_stride[i][k];
    }
  }
};

// Byte tensors only. b may be null (unary operators); shapes must broadcast to y's.
RowPlan plan_rows(const View& y, const View& a, const View* b);

}  // namespace octavo
