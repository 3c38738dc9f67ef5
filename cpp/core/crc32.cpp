#include "core/crc32.h"

#include <cstring>

namespace octavo {
namespace {

// slice[k][b]: CRC of byte b followed by k zero bytes, so that eight bytes fold per step.
struct Tables {
  uint32_t slice[8][256];
  Tables() {
    for (uint32_t b = 0; b < 256; b++) {
      uint32_t c = b;
      for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
      slice[0][b] = c;
    }
    for (int k = 1; k < 8; k++)
      for (uint32_t b = 0; b < 256; b++) slice[k][b] = slice[0][slice[k - 1][b] & 0xFF] ^ (slice[k - 1][b] >> 8);
  }
};

}  // namespace

uint32_t crc32(const void* data, size_t bytes) {
  static const Tables t;
  const auto* p = static_cast<const uint8_t*>(data);
  uint32_t c = ~0u;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= c;
    c = t.slice[7][low & 0xFF] ^ t.slice[6][low >> 8 & 0xFF] ^ t.slice[5][low >> 16 & 0xFF] ^ t.slice[4][low >> 24] ^
        t.slice[3][high & 0xFF] ^ t.slice[2][high >> 8 & 0xFF] ^ t.slice[1][high >> 16 & 0xFF] ^ t.slice[0][high >> 24];
  }
  for (; bytes > 0; bytes--, p++) c = t.slice[0][(c ^ *p) & 0xFF] ^ (c >> 8);
  return ~c;
}

}  // namespace octavo
