// Running a large batch as several small ones, one after another.
//
// Step by step over the whole batch, a network's activations leave the cache between a step and the next; part by part
// they stay there. Where every step treats the images of its batch alike and apart, the bytes are the same.
#pragma once

#include <memory>
#include <vector>

#include "plan/instance.h"

namespace octavo {

// The plan for one of `parts` equal parts of the batch.
struct BatchParts {
  std::shared_ptr<const Instance> instance;
  int64_t parts = 1;
};

// How `whole`, planned for these input shapes, is best run: in parts whose activations fit the cache, when it needs far
// more and may be cut; otherwise at once (no instance).
BatchParts split_batch(const Program& program, const Instance& whole, const std::vector<Shape>& input_shapes);

}  // namespace octavo
