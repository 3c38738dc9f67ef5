#include "ops/restore.h"

#include <algorithm>
#include <cstring>

#include "core/minifloat.h"

namespace octavo {
namespace {

int bits_of(DType t) {
  switch (t) {
    case DType::u2:
    case DType::s2:
      return 2;
    case DType::u4:
    case DType::s4:
    case DType::f4e2m1:
      return 4;
    case DType::u8:
    case DType::s8:
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f6e2m3:
    case DType::f6e3m2:
      return 8;
    case DType::u16:
    case DType::s16:
    case DType::f16:
    case DType::bf16:
      return 16;
    default:
      return 0;
  }
}

float value_of(DType t, int code) {
  switch (t) {
    case DType::u8:
      return float(code);
    case DType::s8:
      return float(int8_t(code));
    case DType::u4:
    case DType::s4:
    case DType::u2:
    case DType::s2:
      return float(narrow_integer(t, uint8_t(code)));
    default:
      return decode(*minifloat_of(t), uint32_t(code));
  }
}

float zero_at(const View& zero, int64_t i) {
  if (zero.elements() == 1) i = 0;
  return zero.dtype == DType::f32  ? zero.as<float>()[i]
         : zero.dtype == DType::u8 ? float(zero.as<uint8_t>()[i])
                                   : float(zero.as<int8_t>()[i]);
}

}  // namespace

Restored::Restored(const BindContext& ctx, int codes, int extra, bool run_time) {
  const int64_t type = ctx.step.i("w_type");
  const bool sparse = ctx.step.i("w_sparse", 0) != 0, known = type > 0 && type < kDTypes;
  type_ = known ? DType(type) : DType::none;
  bits_ = bits_of(type_);
  run_time_ = run_time && !sparse && type_ == DType::f32;
  if (sparse ? type_ != DType::f32 : bits_ == 0 && !run_time_)
    ctx.fail("w_type is %lld: weights cannot be stored that way", (long long)type);
  const std::vector<int64_t> dims = ctx.step.ints("w_shape");
  if (dims.size() < 2 || dims.size() > size_t(kMaxRank)) ctx.fail("w_shape must have 2 to %d entries", kMaxRank);
  for (int64_t d : dims) shape_.dim[shape_.rank++] = d;
  if (shape_.extent(kMaxElements) < 0 || shape_.elements() < 1) ctx.fail("w_shape is empty or out of range");
  rows_ = shape_[0], columns_ = shape_.span(1, shape_.rank);
  if (run_time_) {
    ctx.need(codes, DType::f32);
    return;
  }
  if (sparse) {
    parse_sparse(ctx, codes, extra);
    return;
  }
  const View& stored = ctx.constant(codes, DType::u8);
  const int64_t bytes = (shape_.elements() * bits_ + 7) / 8;
  if (stored.elements() != bytes)
    ctx.fail("the stored weights have %lld bytes, expected %lld", (long long)stored.elements(), (long long)bytes);
  codes_ = stored.as<uint8_t>();
  parse_scales(ctx, extra);
  parse_table(ctx, extra);
}

void Restored::parse_scales(const BindContext& ctx, int extra) {
  if (ctx.has(extra)) {
    const View& scale = ctx.constant(extra, DType::f32);
    const std::vector<int64_t> block = ctx.step.ints("w_block");
    if (block.size() != 2 || block[0] < 1 || block[1] < 1) ctx.fail("w_block must be two positive sizes");
    block_rows_ = std::min(block[0], rows_), block_columns_ = std::min(block[1], columns_);
    scales_a_row_ = (columns_ + block_columns_ - 1) / block_columns_;
    if (scale.elements() != (rows_ + block_rows_ - 1) / block_rows_ * scales_a_row_)
      ctx.fail("there are %lld scales, which does not fit w_shape and w_block", (long long)scale.elements());
    scale_ = scale.as<float>();
  }
  if (!ctx.has(extra + 1)) return;
  zero_ = ctx.constant_or_null(extra + 1);
  if (!scale_ || !zero_) ctx.fail("zero points must be constant and need scales");
  if (zero_->dtype != DType::u8 && zero_->dtype != DType::s8 && zero_->dtype != DType::f32)
    ctx.fail("zero points must be uint8, int8 or float32, but are %s", name_of(zero_->dtype));
  if (zero_->elements() != 1 && zero_->elements() != ctx.constant(extra, DType::f32).elements())
    ctx.fail("scales and zero points differ in number");
}

void Restored::parse_table(const BindContext& ctx, int extra) {
  const float* table = nullptr;
  if (ctx.has(extra + 2)) {
    if (type_ != DType::u8 && type_ != DType::u4 && type_ != DType::u2)
      ctx.fail("codes that index a table must be uint8, uint4 or uint2, but are %s", name_of(type_));
    const View& given = ctx.constant(extra + 2, DType::f32);
    if (given.elements() != 1 << bits_) ctx.fail("the table must have %d elements", 1 << bits_);
    table = given.as<float>();
  }
  if (bits_ > 8) return;
  each_ = 8 / bits_;
  values_of_byte_.resize(size_t(256 * each_));
  for (int byte = 0; byte < 256; byte++)
    for (int k = 0; k < each_; k++) {
      const int code = byte >> k * bits_ & ((1 << bits_) - 1);
      values_of_byte_[size_t(byte * each_ + k)] = table ? table[code] : value_of(type_, code);
    }
}

void Restored::parse_sparse(const BindContext& ctx, int values, int extra) {
  const View &given = ctx.constant(values, DType::f32), &starts = ctx.constant(extra, DType::s32);
  const int64_t n = given.elements();
  sparse_columns_ = ctx.constant_or_null(extra + 1);
  if (!sparse_columns_ || (sparse_columns_->dtype != DType::u16 && sparse_columns_->dtype != DType::s32) ||
      sparse_columns_->elements() != n)
    ctx.fail("the columns of the %lld elements must be uint16 or int32 constants, one each", (long long)n);
  if (starts.elements() != rows_ + 1) ctx.fail("there must be %lld starts of rows", (long long)(rows_ + 1));
  const int32_t* at = starts.as<int32_t>();
  if (at[0] != 0 || at[rows_] != n) ctx.fail("the starts of rows must go from 0 to %lld", (long long)n);
  for (int64_t r = 0; r < rows_; r++) {
    if (at[r + 1] < at[r] || at[r + 1] > n) ctx.fail("the starts of rows must ascend");
    int64_t before = -1;
    for (int64_t i = at[r]; i < at[r + 1]; i++) {
      const int64_t c = sparse_columns_->dtype == DType::u16 ? int64_t(sparse_columns_->as<uint16_t>()[i])
                                                             : int64_t(sparse_columns_->as<int32_t>()[i]);
      if (c <= before || c >= columns_) ctx.fail("the columns of row %lld must ascend within the row", (long long)r);
      before = c;
    }
  }
  sparse_values_ = given.as<float>();
  starts_ = at;
}

template <class Column>
void Restored::sparse_row(int64_t r, int64_t from, int64_t to, float* out) const {
  std::fill(out, out + (to - from), 0.0f);
  const Column *columns = sparse_columns_->as<Column>(), *last = columns + starts_[r + 1];
  const auto before = [](Column c, int64_t bound) { return int64_t(c) < bound; };
  for (const Column* c = std::lower_bound(columns + starts_[r], last, from, before); c < last && *c < to; c++)
    out[*c - from] = sparse_values_[c - columns];
}

// The numbers of elements [at, at + n), counted row-major.
void Restored::values(int64_t at, int64_t n, float* out) const {
  if (bits_ > 8) return wide_values(at, n, out);
  switch (each_) {
    case 1:
      return type_ == DType::s8 ? s8_values(at, n, out) : byte_values<1>(at, n, out);
    case 2:
      return byte_values<2>(at, n, out);
    default:
      return byte_values<4>(at, n, out);
  }
}

template <int Each>
void Restored::byte_values(int64_t at, int64_t n, float* out) const {
  const float* table = values_of_byte_.data();
  const uint8_t* p = codes_ + at / Each;
  int64_t i = 0;
  if (int k = int(at % Each); k != 0) {
    for (; k < Each && i < n; k++) out[i++] = table[*p * Each + k];
    p++;
  }
  for (; i + Each <= n; i += Each, p++) std::memcpy(out + i, table + *p * Each, Each * sizeof(float));
  for (int k = 0; i < n; k++) out[i++] = table[*p * Each + k];
}

// The common case without the table: a conversion that compilers make vectors of.
void Restored::s8_values(int64_t at, int64_t n, float* out) const {
  const auto* p = reinterpret_cast<const int8_t*>(codes_) + at;
  for (int64_t i = 0; i < n; i++) out[i] = float(p[i]);
}

void Restored::wide_values(int64_t at, int64_t n, float* out) const {
  const uint8_t* p = codes_ + 2 * at;
  const auto each = [&](auto&& convert) {
    for (int64_t i = 0; i < n; i++) {
      uint16_t code;
      std::memcpy(&code, p + 2 * i, 2);
      const uint32_t bits = convert(code);
      std::memcpy(out + i, &bits, 4);
    }
  };
  const auto bits_of_float = [](float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
  };
  if (type_ == DType::f16) {
    // float_of(Half) without branches: the exponent is corrected by a product, which is exact for subnormals, too.
    each([&](uint32_t code) {
      const uint32_t shifted = (code & 0x7fffu) << 13;
      float x;
      std::memcpy(&x, &shifted, 4);
      const uint32_t special = (code & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
      return bits_of_float(x * 0x1p112f) | special | (code & 0x8000u) << 16;
    });
  } else if (type_ == DType::bf16) {
    each([](uint32_t code) { return code << 16; });
  } else if (type_ == DType::s16) {
    each([&](uint16_t code) { return bits_of_float(float(int16_t(code))); });
  } else {
    each([&](uint16_t code) { return bits_of_float(float(code)); });
  }
}

void Restored::row(int64_t r, int64_t from, int64_t to, float* out) const {
  if (dense_ != nullptr) {
    std::memcpy(out, dense_ + r * columns_ + from, size_t(to - from) * 4);
    return;
  }
  if (starts_ != nullptr)
    return sparse_columns_->dtype == DType::u16 ? sparse_row<uint16_t>(r, from, to, out)
                                                : sparse_row<int32_t>(r, from, to, out);
  values(r * columns_ + from, to - from, out);
  if (scale_ == nullptr) return;
  const int64_t base = r / block_rows_ * scales_a_row_;
  if (block_columns_ == 1) {
    const float* scale = scale_ + base + from;
    if (zero_)
      for (int64_t i = 0; i < to - from; i++) out[i] = out[i] - zero_at(*zero_, base + from + i);
    for (int64_t i = 0; i < to - from; i++) out[i] = out[i] * scale[i];
    return;
  }
  for (int64_t c = from; c < to;) {
    const int64_t block = c / block_columns_, end = std::min(to, (block + 1) * block_columns_);
    const float scale = scale_[base + block], zero = zero_ ? zero_at(*zero_, base + block) : 0.0f;
    float* piece = out + (c - from);
    if (zero_)
      for (int64_t i = 0; i < end - c; i++) piece[i] = (piece[i] - zero) * scale;
    else
      for (int64_t i = 0; i < end - c; i++) piece[i] = piece[i] * scale;
    c = end;
  }
}

void Restored::panel(const GemmF32& kernel, bool rows_are_n, int64_t n0, int64_t columns, float* packed) const {
  const int64_t width = columns > kernel.lanes ? 2 * kernel.lanes : kernel.lanes;
  const int64_t K = rows_are_n ? columns_ : rows_;
  if (!rows_are_n) {
    for (int64_t k = 0; k < K; k++) {
      row(k, n0, n0 + columns, packed + k * width);
      std::fill(packed + k * width + columns, packed + (k + 1) * width, 0.0f);
    }
    return;
  }
  constexpr int64_t kPiece = 256;
  float piece[kPiece];
  for (int64_t k0 = 0; k0 < K; k0 += kPiece) {
    const int64_t k1 = std::min(K, k0 + kPiece);
    for (int64_t n = 0; n < columns; n++) {
      row(n0 + n, k0, k1, piece);
      for (int64_t k = k0; k < k1; k++) packed[k * width + n] = piece[k - k0];
    }
    for (int64_t k = k0; k < k1; k++) std::fill(packed + k * width + columns, packed + (k + 1) * width, 0.0f);
  }
}

int64_t restored_panel_floats(const GemmF32& kernel, int64_t K) { return K * 2 * kernel.lanes; }

GemmF32Job restore_panel(const GemmF32Job& job, const Restored& w, bool rows_are_n, int64_t first, int64_t panel,
                         float* scratch) {
  const int64_t full = 2 * job.kernel->lanes, n0 = panel * full;
  GemmF32Job one = job;
  one.N = std::min(full, job.N - n0);
  one.packed = scratch;
  one.bias = job.bias ? job.bias + n0 : nullptr;
  w.panel(*job.kernel, rows_are_n, first + n0, one.N, scratch);
  return one;
}

}  // namespace octavo
