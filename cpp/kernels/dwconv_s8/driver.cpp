#include "kernels/dwconv_s8/driver.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/registry.h"

namespace octavo {
namespace {

constexpr int64_t kNarrow = 8;       // rows of at most so many outputs
constexpr int64_t kColumns = 512;    // a row is cut into pieces of this many outputs (even)
constexpr int64_t kChunksPerUs = 2;  // work of a chunk: half a microsecond

int32_t weight_at(const DwconvS8Weights& w, int64_t channel, int64_t tap) {
  const int64_t i = channel * w.kh * w.kw + tap;
  return w.dtype == DType::s16 ? static_cast<const int16_t*>(w.w)[i] : static_cast<const int8_t*>(w.w)[i];
}

// A weight beyond s8 is a sum of up to three s8 ones.
constexpr int kSummands = 3;
int32_t part_at(int32_t weight, int part) {
  int32_t v = 0;
  for (int i = 0; i <= part; i++) {
    v = std::clamp(weight, -128, 127);
    weight -= v;
  }
  return v;
}

// |acc * m| < 2^31 for every input: then the conversion to int32 cannot overflow.
bool proven(const DwconvS8Weights& w, int64_t channel) {
  double sum = w.bias ? std::fabs(double(w.bias[channel])) : 0.0;
  for (int64_t t = 0; t < w.kh * w.kw; t++) sum += 255.0 * std::abs(weight_at(w, channel, t));
  sum = std::min(sum, 2147483648.0);  // int32 wraps
  return sum * std::fabs(double(w.m[channel * w.m_stride])) < 1073741824.0;
}

const char* kind_name(DwconvS8Kind kind) {
  switch (kind) {
    case DwconvS8Kind::s1_two_rows:
    case DwconvS8Kind::s1_one_row:
    case DwconvS8Kind::s1_two_dense:
    case DwconvS8Kind::s1_one_dense:
    case DwconvS8Kind::s1_wide:
      return "3x3s1";
    case DwconvS8Kind::s2:
    case DwconvS8Kind::s2_wide:
      return "3x3s2";
    case DwconvS8Kind::s1_5x5:
      return "5x5s1";
    case DwconvS8Kind::s2_5x5:
      return "5x5s2";
    default:
      return "general";
  }
}

}  // namespace

DwconvS8Packed::DwconvS8Packed(Isa isa, const DwconvS8Weights& w)
    : kernel_(static_cast<const DwconvS8*>(find_kernel(w.multiplier ? "dwconv_s8_fixed" : "dwconv_s8", isa))),
      adder_(w.multiplier ? nullptr : &eltwise_s8(isa)),
      fixed_adder_(w.multiplier ? &eltwise_fixed(isa) : nullptr),
      lut_(&lut_s8(isa)),
      shape_(w),
      kind_(DwconvS8Kind::general),
      fixed_(w.multiplier != nullptr) {
  shape_.w = nullptr, shape_.bias = nullptr, shape_.m = nullptr, shape_.multiplier = shape_.shift = nullptr;
  const bool square = w.kh == w.kw && w.dil_h == 1 && w.dil_w == 1 && w.stride_h == w.stride_w;
  if (square && (w.kh == 3 || w.kh == 5) && !w.out_f32) {
    if (w.stride_h == 1) kind_ = w.kh == 3 ? DwconvS8Kind::s1_two_rows : DwconvS8Kind::s1_5x5;
    if (w.stride_h == 2) kind_ = w.kh == 3 ? DwconvS8Kind::s2 : DwconvS8Kind::s2_5x5;
  }
  for (int64_t c = 0; c < w.channels;) {
    Block b = {};
    b.first = c;
    b.width = kernel_->max_width;
    // The narrowest vector that holds the rest, if it may be partial; else the widest that the rest fills.
    const int64_t left = w.channels - c;
    while (b.width > 16 && (b.width / 2 >= left || (b.width > left && b.width > kernel_->max_partial))) b.width /= 2;
    b.channels = int32_t(std::min<int64_t>(b.width, left));
    b.kind = kind_of(w, b);
    c += b.channels;
    blocks_.push_back(b);
  }
  find_taps(w);
  find_dense(w);
  size_t bytes = 0, side = 0;
  for (Block& b : blocks_) {
    const size_t vectors = b.kind == DwconvS8Kind::general ? taps_.size() : w.kh == 3 ? 24 : 52;
    b.weights = bytes, b.side = side;
    bytes += vectors * size_t(b.width), side += size_t(b.width);
    const bool partial = b.channels < b.width;
    b.row = row_fn(b.kind, w, b, partial);
    b.last_row = b.kind == DwconvS8Kind::s1_two_rows ? row_fn(DwconvS8Kind::s1_one_row, w, b, partial) : b.row;
  }
  if (dense()) {
    dense_.block.weights = bytes, dense_.block.side = side;
    bytes += 24 * size_t(dense_.block.width), side += size_t(dense_.block.width);
  }
  const auto square_two = [](const Block& b) { return b.kind == DwconvS8Kind::s1_two_rows; };
  if (std::all_of(blocks_.begin(), blocks_.end(), square_two)) turned_ = bytes, bytes *= 2;
  weights_ = Buffer(bytes, true);
  bias_ = Buffer(side * sizeof(int32_t), true);
  m_ = Buffer(side * sizeof(float), true);
  if (fixed_) shift_ = Buffer(side * sizeof(int32_t), true);
  for (const Block& b : blocks_) pack_block(w, b);
  if (dense()) pack_block(w, dense_.block);
}

DwconvS8::RowFn DwconvS8Packed::row_fn(DwconvS8Kind kind, const DwconvS8Weights& w, const Block& b,
                                       bool partial) const {
  bool fast = true;
  for (int64_t i = b.first; i < b.first + b.channels && !fixed_; i++) fast = fast && proven(w, i);
  const DwconvS8Out out = w.out_f32 ? DwconvS8Out::f32 : fast ? DwconvS8Out::u8_fast : DwconvS8Out::u8_safe;
  return kernel_->row[int(kind)][int(out)][b.width == 64 ? 0 : b.width == 32 ? 1 : 2][partial];
}

void DwconvS8Packed::find_dense(const DwconvS8Weights& w) {
  if (blocks_.size() != 1 || blocks_[0].kind != DwconvS8Kind::s1_two_rows) return;
  // From 32 channels on the narrower block that they fill is quicker: its outputs share columns.
  if (w.channels > 16 || w.channels >= kernel_->max_width || kernel_->max_width % w.channels != 0) return;
  Block& b = dense_.block;
  b = {0, int32_t(w.channels), kernel_->max_width, DwconvS8Kind::s1_two_dense, nullptr, nullptr, 0, 0};
  b.row = row_fn(DwconvS8Kind::s1_two_dense, w, b, false);
  b.last_row = row_fn(DwconvS8Kind::s1_one_dense, w, b, false);
  dense_.tail = row_fn(DwconvS8Kind::s1_two_dense, w, b, true);
  dense_.last_tail = row_fn(DwconvS8Kind::s1_one_dense, w, b, true);
}

// Weights beyond s8 are rare even in layers that have some, so each block has the quickest kind that serves its own.
DwconvS8Kind DwconvS8Packed::kind_of(const DwconvS8Weights& w, const Block& b) const {
  int summands = 1;
  for (int64_t c = b.first; c < b.first + b.channels; c++)
    for (int64_t t = 0; t < w.kh * w.kw; t++)
      while (summands < kSummands && part_at(weight_at(w, c, t), summands) != 0) summands++;
  if (summands == 1) return kind_;
  if (summands == 2 && kind_ == DwconvS8Kind::s1_two_rows) return DwconvS8Kind::s1_wide;
  if (summands == 2 && kind_ == DwconvS8Kind::s2) return DwconvS8Kind::s2_wide;
  return DwconvS8Kind::general;
}

void DwconvS8Packed::find_taps(const DwconvS8Weights& w) {
  for (int64_t t = 0; t < w.kh * w.kw; t++) {
    int summands = 0;  // the most that a general block needs
    for (const Block& b : blocks_) {
      if (b.kind != DwconvS8Kind::general) continue;
      summands = std::max(summands, 1);
      for (int64_t c = b.first; c < b.first + b.channels; c++)
        while (summands < kSummands && part_at(weight_at(w, c, t), summands) != 0) summands++;
    }
    for (int p = 0; p < summands; p++) {
      taps_.push_back({t / w.kw * w.dil_h, t % w.kw * w.dil_w});
      part_of_.push_back(int32_t(t * 4 + p));
    }
  }
  while (taps_.size() % 4 != 0) taps_.push_back(taps_.back()), part_of_.push_back(-1);  // times zero
}

void DwconvS8Packed::pack_block(const DwconvS8Weights& w, const Block& b) {
  int8_t* to = weights_.as<int8_t>() + b.weights;
  const int32_t lanes = b.width / 4;
  for (int32_t k = 0; k < 4; k++)
    for (int32_t l = 0; l < lanes; l++) {
      const int32_t in_block = l / 4 * 16 + 4 * k + l % 4;
      if (in_block >= b.channels && b.kind != DwconvS8Kind::s1_two_dense) continue;
      const int64_t c = b.first + in_block % b.channels;
      bias_.as<int32_t>()[b.side + size_t(k * lanes + l)] = w.bias ? w.bias[c] : 0;
      const size_t at = b.side + size_t(k * lanes + l);
      if (fixed_) {
        m_.as<int32_t>()[at] = w.multiplier[c * w.m_stride];
        shift_.as<int32_t>()[at] = w.shift[c * w.m_stride];
      } else {
        m_.as<float>()[at] = w.m[c * w.m_stride];
      }
      if (b.kind == DwconvS8Kind::general) {
        for (size_t t = 0; t < taps_.size(); t++)
          if (part_of_[t] >= 0)
            to[(t / 4 * 4 + size_t(k)) * size_t(b.width) + size_t(l) * 4 + t % 4] =
                int8_t(part_at(weight_at(w, c, part_of_[t] / 4), part_of_[t] % 4));
        continue;
      }
      if (w.kh == 5) {
        int8_t* v = to + k * 13 * b.width + l * 4;
        for (int column = 0; column < 5; column++)
          for (int row = 0; row < 4; row++) v[column * b.width + row] = int8_t(weight_at(w, c, row * 5 + column));
        for (int shift = 0; shift < 4; shift++)
          for (int column = 0; column < 5; column++) {
            const int at = column + shift;
            v[(5 + shift * 2 + at / 4) * b.width + at % 4] = int8_t(weight_at(w, c, 20 + column));
          }
        continue;
      }
      pack_3x3(w, c, to + k * 6 * b.width + l * 4, b, false);
      if (turns()) pack_3x3(w, c, to + turned_ + k * 6 * b.width + l * 4, b, true);
    }
}

// A channel's weights in a dword of each vector; turned: rows are columns.
void DwconvS8Packed::pack_3x3(const DwconvS8Weights& w, int64_t channel, int8_t* to, const Block& b, bool turned) {
  const bool wide = b.kind == DwconvS8Kind::s1_wide || b.kind == DwconvS8Kind::s2_wide;
  for (int column = 0; column < 3; column++)
    for (int second = 0; second < 2; second++)
      for (int row = 0; row < 3; row++) {
        const int32_t v = weight_at(w, channel, turned ? column * 3 + row : row * 3 + column);
        to[(column * 2 + second) * b.width + row + (wide ? 0 : second)] = int8_t(wide ? part_at(v, second) : v);
      }
}

std::string DwconvS8Packed::name() const {
  return std::string(fixed_ ? "dwconv_s8_fixed " : "dwconv_s8 ") + kind_name(kind_) + " " + kernel_->isa;
}

namespace {

// `columns` outputs of dense pixels in blocks of several; `r` stands at the first.
void run_dense(const DwconvS8Packed& p, DwconvS8Row r, int64_t rows, int64_t columns) {
  const DwconvS8Packed::Dense& d = *p.dense();
  const DwconvS8Packed::Block& b = d.block;
  const int64_t bytes = columns * b.channels, left = bytes % b.width;
  r.w = p.weights(b), r.bias = p.bias(b), r.m = p.m(b);
  if (p.fixed()) r.multiplier = p.multiplier(b), r.shift = p.shift(b);
  r.columns = int32_t(bytes / b.width), r.channels = b.width;
  (rows == 1 ? b.last_row : b.row)(r);
  if (left == 0) return;
  r.x += bytes - left;
  r.y = static_cast<uint8_t*>(r.y) + (bytes - left);
  r.columns = 1, r.channels = int32_t(left);
  (rows == 1 ? d.last_tail : d.tail)(r);
}

bool runs_dense(const DwconvS8Job& j) {
  const DwconvS8Packed::Dense* d = j.b->dense();
  const int64_t channels = j.b->shape().channels;
  return d && j.x_pixel == channels && j.y_pixel == channels && (d->tail || j.width * channels % d->block.width == 0);
}

// Blocks [first, last) of output rows [y, y + rows), columns [x, x + columns).
void run_piece(const DwconvS8Job& j, bool turned, int64_t image, int64_t y, int64_t rows, int64_t x, int64_t columns,
               size_t first, size_t last, bool blocks_of_pixels) {
  const DwconvS8Packed& p = *j.b;
  const DwconvS8Weights& s = p.shape();
  const int64_t element = s.out_f32 ? 4 : 1;
  const uint8_t* in = j.x + image * j.x_image + y * s.stride_h * j.x_row + x * s.stride_w * j.x_pixel;
  const int64_t out = image * j.y_image + y * j.y_row + x * j.y_pixel;
  DwconvS8Row r = {};
  r.row = j.x_row, r.pixel = j.x_pixel, r.step = s.stride_w * j.x_pixel;
  r.taps = j.offsets, r.groups = int32_t(p.taps().size() / 4);
  r.columns = int32_t(columns);
  r.y_row = j.y_row, r.y_pixel = j.y_pixel;
  r.zp = j.zp, r.lo = j.lo, r.hi = j.hi;
  if (blocks_of_pixels) {
    r.x = in;
    r.y = static_cast<uint8_t*>(j.y) + out;
    run_dense(p, r, rows, columns);
  }
  for (size_t i = first; i < last && !blocks_of_pixels; i++) {
    const DwconvS8Packed::Block& b = p.blocks()[i];
    r.x = in + b.first;
    r.channels = b.channels;
    r.w = turned ? p.turned_weights(b) : p.weights(b), r.bias = p.bias(b), r.m = p.m(b);
    if (p.fixed()) r.multiplier = p.multiplier(b), r.shift = p.shift(b);
    r.y = static_cast<uint8_t*>(j.y) + (out + b.first) * element;
    if (b.kind == DwconvS8Kind::s1_two_rows) {
      (rows == 1 ? b.last_row : b.row)(r);
      continue;
    }
    for (int64_t k = 0; k < rows; k++) {
      b.row(r);
      r.x += j.x_row;  // rows is two only where the stride is one
      r.y = static_cast<uint8_t*>(r.y) + j.y_row * element;
    }
  }
  if (!j.z && !j.table) return;
  const int64_t c0 = p.blocks()[first].first;
  const int64_t channels = p.blocks()[last - 1].first + p.blocks()[last - 1].channels - c0;
  // Dense pixels are one long row: no vector ends early.
  const bool dense = channels == j.y_pixel && (!j.z || channels == j.z_pixel);
  const int64_t n = dense ? 1 : columns, width = dense ? columns * channels : channels;
  for (int64_t k = 0; k < rows; k++) {
    uint8_t* to = static_cast<uint8_t*>(j.y) + out + k * j.y_row + c0;
    if (j.z) {
      const uint8_t* z = j.z + image * j.z_image + (y + k) * j.z_row + x * j.z_pixel + c0;
      if (p.fixed())
        p.fixed_adder().add(to, j.y_pixel, to, j.y_pixel, z, j.z_pixel, n, width, j.add_fixed);
      else
        p.adder().add(to, j.y_pixel, to, j.y_pixel, z, j.z_pixel, n, width, j.add);
    }
    if (j.table) p.lut().bytes(to, j.y_pixel, to, j.y_pixel, n, width, j.table);
  }
}

// Rows of a few outputs are over before they are quick: an image with its rows and columns exchanged has long ones.
void run_turned(Region& pool, DwconvS8Job j) {
  std::swap(j.height, j.width), std::swap(j.x_row, j.x_pixel), std::swap(j.y_row, j.y_pixel);
  const DwconvS8Packed& p = *j.b;
  const int64_t pairs = (j.width + 1) / 2, macs = j.images * j.height * j.width * p.shape().channels * 9;
  const int64_t most = (j.width + kColumns - 1) / kColumns;
  const int64_t chunks = std::max(most, std::min(pairs, pool.chunks_for(macs, p.macs_per_us() / kChunksPerUs)));
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    const int64_t first = 2 * (pairs * chunk / chunks), last = std::min(j.width, 2 * (pairs * (chunk + 1) / chunks));
    for (int64_t image = 0; image < j.images; image++)
      for (int64_t y = 0; y < j.height; y += 2)
        run_piece(j, true, image, y, std::min<int64_t>(2, j.height - y), first, last - first, 0, p.blocks().size(),
                  false);
  });
}

}  // namespace

void dwconv_s8(Region& pool, const DwconvS8Job& job) {
  const DwconvS8Packed& p = *job.b;
  if (p.turns() && job.width <= kNarrow && job.height >= 2 * job.width && !job.z && !job.table && !runs_dense(job)) {
    run_turned(pool, job);
    return;
  }
  for (size_t t = 0; t < p.taps().size(); t++)
    job.offsets[t] = p.taps()[t].row * job.x_row + p.taps()[t].column * job.x_pixel;
  const bool blocks_of_pixels = runs_dense(job);
  const int64_t step = p.two_rows() ? 2 : 1;
  const int64_t row_units = (job.height + step - 1) / step, pieces = (job.width + kColumns - 1) / kColumns;
  const int64_t blocks = int64_t(p.blocks().size());
  const int64_t lines = job.images * row_units * pieces, units = lines * blocks;
  if (units == 0) return;
  const int64_t macs = job.images * job.height * job.width * p.shape().channels * p.shape().kh * p.shape().kw;
  const int64_t chunks = std::min(units, pool.chunks_for(macs, p.macs_per_us() / kChunksPerUs));
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    int64_t u = units * chunk / chunks;
    const int64_t end = units * (chunk + 1) / chunks;
    while (u < end) {
      const int64_t line = u / blocks, first = u % blocks, last = std::min(blocks, first + end - u);
      const int64_t piece = line % pieces, y = line / pieces % row_units * step, image = line / pieces / row_units;
      run_piece(job, false, image, y, std::min(step, job.height - y), piece * kColumns,
                std::min(kColumns, job.width - piece * kColumns), size_t(first), size_t(last), blocks_of_pixels);
      u += last - first;
    }
  });
}

}  // namespace octavo
