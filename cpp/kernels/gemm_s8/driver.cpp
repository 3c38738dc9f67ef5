// Cuts a job into chunks of tiles and panels, and runs the micro-kernels over them.
#include "kernels/gemm_s8/driver.h"

#include <algorithm>

namespace octavo {
namespace {

constexpr size_t kBlock = 384 << 10;  // bytes of weights that stay in the second-level cache while rows pass
constexpr int32_t kStripGroups = 36;  // up to so many groups tiles are so short that strips of them pay
constexpr int64_t kStripRows = 48;    // in lines of at least so many rows
constexpr int64_t kGrain = 1;         // microseconds of work worth a chunk

struct Cut {
  const GemmS8Job& job;
  const GemmS8Packed& b;
  const GemmS8& kernel;
  const uint8_t* panels;
  const int32_t* bias;
  const float* m;
};

// How the rows of a line are cut into tiles of nr vectors: as evenly as possible.
struct Tiling {
  int64_t per_line, base, extra;  // the first `extra` tiles have base + 1 rows

  Tiling(const GemmS8& kernel, int32_t nr, int64_t rows) {
    const int64_t preferred = kernel.rows[nr - 1];
    per_line = rows <= kernel.max_rows[nr - 1] ? 1 : (rows + preferred - 1) / preferred;
    base = rows / per_line, extra = rows % per_line;
  }
};

// The second pass over `rows` rows of columns [column, column + cols) at c, just written; the residual is at z.
void finish(const Cut& cut, int64_t cols, int64_t rows, void* c, const uint8_t* z) {
  const GemmS8Job& job = cut.job;
  const GemmS8Epilogue& e = job.epilogue;
  if (e.kind == GemmS8Epilogue::Kind::f32) {
    float* y = static_cast<float*>(c);
    for (int64_t r = 0; r < rows; r++, y += job.out.row)
      unary_row_f32(*e.eltwise, int(e.act), y, y, cols, e.alpha, e.beta);
    return;
  }
  uint8_t* y = static_cast<uint8_t*>(c);
  // Dense rows are one long row: no vector ends early.
  if (cols == job.out.row && (!z || cols == job.z.row)) cols *= rows, rows = 1;
  if (z && e.fixed)
    e.fixed->add(y, job.out.row, y, job.out.row, z, job.z.row, rows, cols, e.add_fixed);
  else if (z)
    e.adder->add(y, job.out.row, y, job.out.row, z, job.z.row, rows, cols, e.add);
  if (e.table) e.lut->bytes(y, job.out.row, y, job.out.row, rows, cols, e.table);
}

// What a panel brings to a tile, and the tiles for it.
void set_panel(const Cut& cut, const GemmS8Packed::Panel& q, GemmS8Tile& k, const GemmS8::TileFn** tile) {
  const GemmS8Epilogue& e = cut.job.epilogue;
  k.b = cut.panels + q.offset;
  k.extra = q.extra, k.extras = q.extras;
  k.bias = cut.bias + q.side;
  k.m = cut.m + q.side;
  k.cols = q.cols;
  const bool half = q.nr > 1 && q.nr < 4 && q.cols <= q.nr * cut.kernel.lanes - cut.kernel.lanes / 2;
  const GemmS8::TileFn* narrow = half ? cut.kernel.half_tile[q.nr - 2] : nullptr;
  *tile = narrow && narrow[0] ? narrow : cut.kernel.tile[q.nr - 1];
  k.bias_f = e.bias_f ? e.bias_f + q.first : nullptr;
  if (cut.b.shift()) {
    k.multiplier = cut.b.multiplier() + q.side, k.shift = cut.b.shift() + q.side;
    k.out = e.once ? GemmS8Out::u8_once : GemmS8Out::u8_twice;
  } else if (e.kind == GemmS8Epilogue::Kind::s32)
    k.out = GemmS8Out::s32;
  else if (e.kind == GemmS8Epilogue::Kind::f32)
    k.out = GemmS8Out::f32;
  else if (!q.fast)
    k.out = GemmS8Out::u8_float;
  else
    k.out = e.lo == 0 && e.hi == 255 ? GemmS8Out::u8_saturate : GemmS8Out::u8_bytes;
}

// Rows [first, last) of one line by strips, and a tile of what is left; k stands at the line's first row.
void run_strip(const GemmS8& kernel, const GemmS8Packed::Panel& q, GemmS8Tile k, int64_t first, int64_t last) {
  const int64_t height = kernel.strip_rows[q.nr - 1], tiles = (last - first) / height;
  k.a += first * k.lda;
  k.c = static_cast<uint8_t*>(k.c) + first * k.ldc;
  if (tiles > 0) kernel.strip[q.nr - 1](k, tiles);
  const int64_t left = last - first - tiles * height;
  if (left == 0) return;
  k.a += tiles * height * k.lda;
  k.c = static_cast<uint8_t*>(k.c) + tiles * height * k.ldc;
  kernel.tile[q.nr - 1][left - 1](k);
}

// Part r of `parts` of the rows, times panels [p0, p1).
void run_part(const Cut& cut, int64_t r, int64_t parts, int64_t p0, int64_t p1) {
  const GemmS8Job& job = cut.job;
  const GemmS8Epilogue& e = job.epilogue;
  // Panel after panel over all the rows, unless each tile first has to widen its inputs: then a block of panels shares
  // them.
  const int64_t block =
      cut.kernel.wide ? std::max<int64_t>(1, int64_t(kBlock / std::max<size_t>(1, cut.b.panel_bytes))) : 1;
  const int64_t element = e.kind == GemmS8Epilogue::Kind::u8 ? 1 : 4;
  const bool f32 = e.act != UnaryFn::None, bytes = e.z || e.table;
  alignas(64) uint8_t work[kGemmS8Work];
  GemmS8Tile k;
  const GemmS8::TileFn* micro;
  k.work = work;
  k.lda = job.in.row;
  k.outer = job.outer, k.inner = job.inner;
  k.groups = job.groups ? job.groups : cut.b.groups;
  k.segment_outer = job.segment_outer, k.segment_inner = job.segment_inner;
  k.row_bias = nullptr, k.z = nullptr;
  k.again = false;
  k.ldc = job.out.row, k.ldz = job.z.row;
  k.zp = e.zp, k.lo = e.lo, k.hi = e.hi;
  const bool short_tiles =
      job.in.rows >= kStripRows && k.outer == 1 && k.inner == 1 && k.groups <= kStripGroups && !job.row_bias && !bytes;
  for (int64_t p = p0; p < p1; p += block) {
    const int64_t last = std::min(p1, p + block);
    GemmS8Packed::Panel q = cut.b.panel(p);
    const int64_t begin = q.first;
    set_panel(cut, q, k, &micro);
    const bool strips = short_tiles && !q.extras && micro == cut.kernel.tile[q.nr - 1] && cut.kernel.strip[q.nr - 1] &&
                        (k.out == GemmS8Out::u8_saturate || k.out == GemmS8Out::u8_bytes);
    const Tiling cuts(cut.kernel, q.nr, job.in.rows);
    const int64_t tiles = job.in.lines * cuts.per_line, t1 = tiles * (r + 1) / parts;
    for (int64_t tile = tiles * r / parts; tile < t1;) {
      const int64_t i = tile / cuts.per_line, n = i / job.in.lines_per_image, line = i % job.in.lines_per_image;
      const uint8_t* a = job.a + n * job.in.image + line * job.in.line;
      uint8_t* c = static_cast<uint8_t*>(job.c) + (n * job.out.image + line * job.out.line) * element;
      const int64_t at = n * job.z.image + line * job.z.line;
      const float* z = e.z_f ? e.z_f + at : nullptr;
      int64_t t = tile % cuts.per_line, first = t * cuts.base + std::min(t, cuts.extra);
      const int64_t end = std::min(t1 - tile, cuts.per_line - t) + tile;
      if (strips) {
        const int64_t past = t + end - tile;
        k.a = a, k.c = c + q.first;
        run_strip(cut.kernel, q, k, first, past * cuts.base + std::min(past, cuts.extra));
        tile = end;
        continue;
      }
      for (; tile < end; tile++, t++) {
        const int64_t rows = cuts.base + (t < cuts.extra);
        k.a = a + first * job.in.row;
        if (job.row_bias) k.row_bias = job.row_bias + i * job.in.rows + first;
        uint8_t* out = c + first * job.out.row * element;
        for (int64_t j = p; j < last; j++) {
          if (last - p > 1) {
            q = cut.b.panel(j);
            set_panel(cut, q, k, &micro);
          }
          k.again = j > p;
          k.c = out + q.first * element;
          k.z = z ? z + first * job.z.row + q.first : nullptr;
          micro[rows - 1](k);
          if (f32) finish(cut, q.cols, rows, k.c, nullptr);
        }
        if (bytes)
          finish(cut, q.first + q.cols - begin, rows, out + begin,
                 e.z ? e.z + at + first * job.z.row + begin : nullptr);
        first += rows;
      }
    }
  }
}

// Lines that follow one another at the pixels' stride everywhere are one long line: no tile ends early.
GemmS8Job collapse(GemmS8Job job) {
  const bool z = job.epilogue.z || job.epilogue.z_f;
  auto uniform = [&](int64_t GemmS8Rows::* stride, int64_t count) {
    return job.in.*stride == count * job.in.row && job.out.*stride == count * job.out.row &&
           (!z || job.z.*stride == count * job.z.row);
  };
  if (job.in.lines_per_image > 1 && uniform(&GemmS8Rows::line, job.in.rows)) {
    job.in.rows *= job.in.lines_per_image;
    job.in.lines /= job.in.lines_per_image;
    job.in.lines_per_image = 1;
  }
  if (job.in.lines_per_image == 1 && job.in.lines > 1 && uniform(&GemmS8Rows::image, job.in.rows)) {
    job.in.rows *= job.in.lines;
    job.in.lines = 1;
  }
  return job;
}

}  // namespace

void gemm_s8(Region& pool, const GemmS8Job& given) {
  if (given.in.rows <= 0 || given.in.lines <= 0 || given.b->n <= 0) return;
  const GemmS8Job job = collapse(given);
  const GemmS8Packed& b = *job.b;
  const GemmS8& kernel = *b.kernel;
  const Cut cut = {
      job, b, kernel, job.panels ? job.panels : b.data(), job.bias ? job.bias : b.bias(), job.m ? job.m : b.m()};
  const int64_t tiles = job.in.lines * Tiling(kernel, b.nr, job.in.rows).per_line;
  // Work in units of 64 products, so that no size overflows; a fixed cost stands for the epilogue.
  const int64_t work = job.in.lines * job.in.rows * std::max<int64_t>(1, b.n * (b.k + 32) / 64);
  const int64_t wanted = pool.chunks_for(work, int64_t(kernel.macs_per_us) * kGrain / 64);
  if (wanted <= 1) {
    run_part(cut, 0, 1, 0, b.panels);
    return;
  }
  // Rows are cut first; panels when there are few rows, or when the weights are what has to be kept in cache.
  const bool heavy = b.bytes > kBlock && b.panels >= wanted && tiles < 4 * wanted;
  const int64_t row_cuts = heavy ? 1 : std::min(wanted, tiles);
  const int64_t panel_cuts = std::min(b.panels, (wanted + row_cuts - 1) / row_cuts);
  pool.parallel_for(row_cuts * panel_cuts, [&](int64_t chunk, int) {
    const int64_t r = chunk % row_cuts, p = chunk / row_cuts;
    run_part(cut, r, row_cuts, b.panels * p / panel_cuts, b.panels * (p + 1) / panel_cuts);
  });
}

}  // namespace octavo
