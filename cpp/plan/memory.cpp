#include "plan/memory.h"

#include <algorithm>
#include <numeric>

#include "core/buffer.h"

namespace octavo {
namespace {

// The smallest gap between the placed neighbours (sorted by offset) that holds `bytes`, or the end.
size_t best_gap(const std::vector<const Block*>& neighbours, size_t bytes) {
  size_t best = SIZE_MAX, best_gap = SIZE_MAX, top = 0;
  for (const Block* n : neighbours) {
    if (n->offset >= top + bytes && n->offset - top < best_gap) {
      best = top;
      best_gap = n->offset - top;
    }
    top = std::max(top, n->offset + n->bytes);
  }
  return best != SIZE_MAX ? best : top;
}

}  // namespace

size_t place_blocks(std::vector<Block>& blocks) {
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  std::vector<const Block*> placed, neighbours;
  size_t arena = 0;
  for (size_t k : order) {
    Block& b = blocks[k];
    b.bytes = align_up(b.bytes);
    if (b.bytes == 0) continue;
    neighbours.clear();
    for (const Block* p : placed)
      if (p->first <= b.last && b.first <= p->last) neighbours.push_back(p);
    std::sort(neighbours.begin(), neighbours.end(),
              [](const Block* a, const Block* c) { return a->offset < c->offset; });
    b.offset = best_gap(neighbours, b.bytes);
    arena = std::max(arena, b.offset + b.bytes);
    placed.push_back(&b);
  }
  return arena;
}

}  // namespace octavo
