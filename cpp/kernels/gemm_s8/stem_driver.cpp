#include "kernels/gemm_s8/stem_driver.h"

#include <algorithm>

namespace octavo {
namespace {

// The kernel's one instruction beyond its level.
bool permutes_bytes() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

bool all_s8(const GemmS8Weights& w) {
  if (w.dtype == DType::s8) return true;
  const auto* v = static_cast<const int16_t*>(w.w);
  return std::all_of(v, v + w.n * w.segments * w.segment_length, [](int16_t x) { return x >= -128 && x <= 127; });
}

}  // namespace

StemPacked::StemPacked(const GemmS8Packed& b, const GemmS8Weights& w, int64_t step) {
  const int64_t patch = w.segments * w.segment_length, window = (kStemPixels - 1) * step + w.segment_length;
  if (b.kernel->stem == nullptr || !permutes_bytes() || w.multiplier || w.natural || !w.m) return;
  if (w.n < 1 || window > kStemWindow || (patch + 3) / 4 > kStemGroups || !all_s8(w)) return;
  kernel_ = b.kernel;
  segment_groups_ = w.segments * ((w.segment_length + 3) / 4);
  step_ = int32_t(step), row_bytes_ = int32_t(w.segment_length), channels_ = w.n;
  for (int64_t p = 0; p < b.panels; p++) fast_ = fast_ && b.fast(p);
  find_terms(w.segments, w.segment_length);
  const int64_t padded = int64_t(align_up(size_t(w.n), 2 * kStemChannels));
  weights_ = Buffer(size_t(padded * groups_ * 4), true);
  bias_ = Buffer(size_t(padded) * sizeof(int32_t), true);
  m_ = Buffer(size_t(padded) * sizeof(float), true);
  for (int64_t c = 0; c < w.n; c++) {
    int8_t* to = weights_.as<int8_t>() + (c / kStemChannels * groups_ * kStemChannels + c % kStemChannels) * 4;
    for (int64_t i = 0; i < groups_ * 4; i++) {
      if (byte_[size_t(i)] < 0) continue;
      const int64_t at = c * patch + byte_[size_t(i)];
      to[i / 4 * kStemChannels * 4 + i % 4] =
          int8_t(w.dtype == DType::s8 ? static_cast<const int8_t*>(w.w)[at] : static_cast<const int16_t*>(w.w)[at]);
    }
    bias_.as<int32_t>()[c] = w.bias ? w.bias[c] : 0;
    m_.as<float>()[c] = w.m[c * w.m_stride];
  }
}

// Whole groups of each kernel row first; then the bytes left over from all of them, four to a group.
void StemPacked::find_terms(int64_t rows, int64_t row_bytes) {
  const auto add = [&](int64_t row, int64_t from, int64_t at, int64_t count) {  // a row's bytes to the next group's
    StemTerm t = {};
    t.row = int32_t(row), t.group = int32_t(byte_.size() / 4), t.new_group = at == 0;
    for (int64_t i = 0; i < count; i++) byte_.push_back(row * row_bytes + from + i);
    for (int64_t lane = 0; lane < kStemPixels; lane++)
      for (int64_t i = 0; i < count; i++) {
        t.index[lane * 4 + at + i] = uint8_t(lane * step_ + from + i);
        t.mask |= uint64_t(1) << (lane * 4 + at + i);
      }
    terms_.push_back(t);
  };
  for (int64_t r = 0; r < rows; r++)
    for (int64_t k = 0; k + 4 <= row_bytes; k += 4) add(r, k, 0, 4);
  for (int64_t r = 0, at = 0; r < rows; r++)
    for (int64_t k = row_bytes / 4 * 4; k < row_bytes;) {
      const int64_t count = std::min(4 - at, row_bytes - k);
      add(r, k, at, count);
      at = (at + count) % 4, k += count;
    }
  while (byte_.size() % 4 != 0) byte_.push_back(-1);
  groups_ = int32_t(byte_.size() / 4);
  std::stable_sort(terms_.begin(), terms_.end(), [](const StemTerm& a, const StemTerm& b) { return a.row < b.row; });
  for (size_t i = 0; i < terms_.size(); i++) terms_[i].new_row = i == 0 || terms_[i].row != terms_[i - 1].row;
}

void StemPacked::run(Region& pool, const GemmS8Job& job) const {
  const GemmS8Epilogue& e = job.epilogue;
  StemLine line = {};
  line.row = job.segment_outer, line.step = step_, line.row_bytes = row_bytes_;
  line.terms = terms_.data(), line.term_count = int32_t(terms_.size()), line.groups = groups_;
  line.w = weights_.as<int8_t>(), line.bias = bias_.as<int32_t>(), line.m = m_.as<float>();
  line.y_pixel = job.out.row, line.channels = int32_t(channels_);
  line.out = !fast_ ? GemmS8Out::u8_float : e.lo == 0 && e.hi == 255 ? GemmS8Out::u8_saturate : GemmS8Out::u8_bytes;
  line.zp = e.zp, line.lo = e.lo, line.hi = e.hi;
  // Lines are cut where they are fewer than the chunks: a signal is a single one.
  const int64_t lines = job.in.lines, blocks = (job.in.rows + kStemPixels - 1) / kStemPixels;
  if (lines <= 0 || blocks <= 0) return;
  const int64_t most = lines * std::max<int64_t>(1, job.in.rows * channels_ * groups_ * 4 / 64);
  const int64_t wanted = pool.chunks_for(most, kernel_->macs_per_us / 64);
  const int64_t parts = std::min(blocks, (wanted + lines - 1) / lines), units = lines * parts;
  const int64_t chunks = std::min(units, wanted);
  pool.parallel_for(chunks, [&](int64_t chunk, int) {
    alignas(64) uint8_t work[kStemWork];
    StemLine mine = line;
    mine.work = work;
    for (int64_t u = units * chunk / chunks; u < units * (chunk + 1) / chunks; u++) {
      const int64_t i = u / parts, image = i / job.in.lines_per_image, y = i % job.in.lines_per_image;
      const uint8_t* x = job.a + image * job.in.image + y * job.in.line;
      uint8_t* to = static_cast<uint8_t*>(job.c) + image * job.out.image + y * job.out.line;
      int64_t done = blocks * (u % parts) / parts * kStemPixels;
      const int64_t end = std::min(job.in.rows, blocks * (u % parts + 1) / parts * kStemPixels);
      for (; done < end; done += INT32_MAX / 2) {
        mine.x = x + done * step_, mine.y = to + done * job.out.row;
        mine.pixels = int32_t(std::min<int64_t>(end - done, INT32_MAX / 2));
        kernel_->stem(mine);
      }
    }
  });
}

}  // namespace octavo
