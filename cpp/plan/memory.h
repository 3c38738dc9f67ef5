// Static memory planning: where in one arena each block lives, so that blocks alive at the same time never overlap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace octavo {

struct Block {
  size_t bytes = 0;
  int32_t first = 0, last = 0;  // steps, inclusive
  size_t offset = 0;            // result
};

// Largest first, each into the smallest gap that fits among the blocks whose lifetimes meet its own. Returns arena
// bytes.
size_t place_blocks(std::vector<Block>& blocks);

}  // namespace octavo
