// Packing and driving the stem kernel (stem.h): usable without a session, on raw pointers.
#pragma once

#include <vector>

#include "kernels/gemm_s8/driver.h"
#include "kernels/gemm_s8/stem.h"

namespace octavo {

// Weights in the stem kernel's order. Immutable, so it is shared freely.
class StemPacked {
 public:
  StemPacked() = default;
  // Of a convolution whose segments are kernel rows (all its channels, u8 outputs), packed as `b` too; neighbouring
  // patches are `step` bytes apart. Serves nothing where the CPU, or the shape, does not allow it.
  StemPacked(const GemmS8Packed& b, const GemmS8Weights& w, int64_t step);

  bool empty() const { return groups_ == 0; }
  // "gemm_s8 stem avx512vnni"
  std::string name() const { return std::string("gemm_s8 stem ") + kernel_->isa; }
  // Whether lines of so many outputs are quicker than by gemm_s8(): lanes are pixels, and half of its would be empty up
  // to eight channels; of more, the groups saved have to pay for gathering and full vectors for storing.
  bool serves(int64_t pixels) const {
    const int64_t blocks = (pixels + kStemPixels - 1) / kStemPixels;
    if (groups_ == 0) return false;
    if (channels_ <= kStemChannels) return 8 * pixels >= 7 * kStemPixels * blocks;
    return channels_ % (2 * kStemChannels) == 0 && pixels % kStemPixels == 0 && 10 * groups_ <= 8 * segment_groups_;
  }
  // A job of gemm_s8() without residual and table, over the pool.
  void run(Region& pool, const GemmS8Job& job) const;

 private:
  void find_terms(int64_t rows, int64_t row_bytes);

  const GemmS8* kernel_ = nullptr;
  int32_t groups_ = 0, step_ = 0, row_bytes_ = 0;
  int64_t segment_groups_ = 0;  // that gemm_s8() multiplies
  int64_t channels_ = 0;
  bool fast_ = true;
  std::vector<StemTerm> terms_;
  std::vector<int64_t> byte_;  // of a patch: which each byte of the groups is, or -1
  Buffer weights_, bias_, m_;
};

}  // namespace octavo
