// Weights that stay small in memory and become float32 a row at a time: MatMul, Conv and Gather with attribute w_type.
//
//   W[r, c] = fl(fl(value(code[r, c]) - zp[p]) * scale[p]),   p = (r / block[0], c / block[1])
//
// value(code): the number a code of type w_type stands for, or table[code]. Without scale, W = value(code). This is
// DequantizeLinear, rounding for rounding; differences of integers of at most 16 bits are exact in float32.
//
// In the plan: codes u8 const, packed as in ONNX (row-major without gaps, the first element in the low bits);
// attributes w_type, w_shape (of W; rows are its first axis) and w_block [rows,
// columns]. Further inputs, all optional: scale f32 const [ceil(R / block[0]), ceil(C / block[1])], zp const (u8, s8 or
// f32; the scale's shape or one element), table f32 const [2^bits] for codes of at most 8 bits.
//
// With w_sparse, zeros are left out: instead of codes the other elements, f32 const [n], row by row; the further inputs
// are then starts s32 const [R + 1] (row r has elements starts[r] to starts[r + 1]) and their columns, u16 or s32 const
// [n], ascending in each row.
//
// Conv takes float32 weights computed at run time, too: w_type f32 and w_shape alone.
#pragma once

#include <vector>

#include "kernels/gemm_f32/driver.h"
#include "ops/op.h"

namespace octavo {

class Restored {
 public:
  // Whether the step's weights are stored this way.
  static bool wanted(const BindContext& ctx) { return ctx.step.has("w_type"); }

  Restored() = default;
  // codes at input `codes`; scale, zp and table at `extra` and the two after it. Checks everything. `run_time`: float32
  // weights that are no constant are welcome; rows are then read from what with() gave.
  Restored(const BindContext& ctx, int codes, int extra, bool run_time = false);
  bool run_time() const { return run_time_; }
  // The same over the weights of one run.
  Restored with(const View& weights) const {
    Restored r = *this;
    r.dense_ = weights.as<float>();
    return r;
  }

  const Shape& shape() const { return shape_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }

  // W[r, from..to)
  void row(int64_t r, int64_t from, int64_t to, float* out) const;
  // A packed panel of B for gemm_f32: `columns` columns from n0 on, as gemm_f32_pack() would lay it out. With
  // rows_are_n, B[k, n] = W[n, k], else W[k, n].
  void panel(const GemmF32& kernel, bool rows_are_n, int64_t n0, int64_t columns, float* packed) const;

 private:
  void parse_scales(const BindContext& ctx, int extra);
  void parse_table(const BindContext& ctx, int extra);
  void parse_sparse(const BindContext& ctx, int values, int extra);
  template <class Column>
  void sparse_row(int64_t r, int64_t from, int64_t to, float* out) const;
  void values(int64_t at, int64_t n, float* out) const;
  template <int Each>
  void byte_values(int64_t at, int64_t n, float* out) const;
  void s8_values(int64_t at, int64_t n, float* out) const;
  void wide_values(int64_t at, int64_t n, float* out) const;

  Shape shape_;
  DType type_ = DType::none;
  int bits_ = 8, each_ = 1;  // of a code; codes in a byte
  int64_t rows_ = 0, columns_ = 0, block_rows_ = 1, block_columns_ = 1, scales_a_row_ = 1;
  const uint8_t* codes_ = nullptr;
  const float* scale_ = nullptr;
  const View* zero_ = nullptr;
  bool run_time_ = false;
  const float* dense_ = nullptr;     // not null: the weights of this run
  const int32_t* starts_ = nullptr;  // not null: sparse
  const View* sparse_columns_ = nullptr;
  const float* sparse_values_ = nullptr;
  std::vector<float> values_of_byte_;  // [256][each_]: what the codes in a byte stand for, up to 8 bits a code
};

int64_t restored_panel_floats(const GemmF32& kernel, int64_t K);
// The job for one panel of `job`, whose weights it restores into `scratch` (restored_panel_floats()): gemm_f32_rows()
// takes it with panels [0, 1), and with z and y moved on to the panel's first column. Column 0 of the job is row (with
// rows_are_n) or column `first` of W.
GemmF32Job restore_panel(const GemmF32Job& job, const Restored& w, bool rows_are_n, int64_t first, int64_t panel,
                         float* scratch);

}  // namespace octavo
