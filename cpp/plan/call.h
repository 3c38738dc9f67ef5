// The private state of a Call: resolved pointers, so that running a step is a plain loop.
#pragma once

#include <vector>

#include "core/buffer.h"
#include "plan/session.h"

namespace octavo {

struct Call::State {
  // One step ready to run: its views lie in `views` at [in, in + inputs) and [out, out + outputs).
  struct Ready {
    int32_t step, in, out, inputs, outputs;
    const Op* op;
    uint8_t* scratch;
  };
  // views[index].data = base of the caller's buffer `slot` + offset
  struct Patch {
    int32_t index, slot;
    size_t offset;
    bool output;
  };

  Buffer arena;
  std::vector<View> views;
  std::vector<Ready> ready;
  std::vector<Patch> patches;
  std::vector<void*> inputs, outputs;  // the caller's buffers, or those of the part of the batch that runs
  std::vector<void*> whole_inputs, whole_outputs;
  std::vector<Buffer> spare_outputs;  // for outputs nobody gave a buffer for
  // The dynamic part: values that live on the heap during one run.
  std::vector<View> heap_views;
  std::vector<Buffer> heap;
};

std::unique_ptr<Call::State> make_state(const Program& program, const Instance& instance);
void fill_border(const View& view, uint8_t byte);

}  // namespace octavo
