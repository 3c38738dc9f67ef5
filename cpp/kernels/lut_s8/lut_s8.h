// Byte tables: y = table[x], row by row; y may be x.
//   bytes: 256 bytes to bytes;  floats: 256 floats;  flip: y = x xor 0x80 (s8 <-> u8)
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace octavo {

struct LutS8 {
  const char* isa;
  void (*bytes)(uint8_t* y, int64_t ldy, const uint8_t* x, int64_t ldx, int64_t rows, int64_t cols,
                const uint8_t* table);
  void (*floats)(float* y, const uint8_t* x, int64_t n, const float* table);
  void (*flip)(uint8_t* y, int64_t ldy, const uint8_t* x, int64_t ldx, int64_t rows, int64_t cols);
};

// At level avx512vnni a CPU that has VBMI too gets its two-instruction look-up.
const LutS8& lut_s8(Isa isa);

}  // namespace octavo
