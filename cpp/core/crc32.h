// CRC-32 (IEEE 802.3, as zlib's crc32): the checksum of a plan file's sections.
#pragma once

#include <cstddef>
#include <cstdint>

namespace octavo {

uint32_t crc32(const void* data, size_t bytes);

}  // namespace octavo
