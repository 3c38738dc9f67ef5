// A plan for concrete input shapes: every shape, every byte's place, and which steps are left to run.
#pragma once

#include <memory>
#include <vector>

#include "core/buffer.h"
#include "ops/op.h"
#include "plan/program.h"

namespace octavo {

// Throws unless a step's result k, as its infer() has it, is of the declared rank and could be held in memory.
void check_result(const Plan& plan, const StepDef& step, size_t k, const Shape& shape);

// Where a value's bytes are.
enum class Home : uint8_t {
  unknown,  // not planned: its step belongs to the dynamic part
  known,    // a constant, or computed while planning
  input,    // the caller's input buffer `slot`
  output,   // the caller's output buffer `slot`
  arena,    // the arena at the block's offset
};

struct Place {
  Home home = Home::unknown;
  int32_t slot = -1;  // input or output number, or block
  size_t offset = 0;  // bytes from the start of the slot
  View view;          // shape and pitches are final; data is set for `known` only
};

struct BorderFill {
  int32_t value;
  uint8_t byte;
};

class Instance {
 public:
  // Shapes are checked against the plan's declared inputs by the session. Throws through the operators' infer().
  Instance(const Program& program, const std::vector<Shape>& input_shapes);

  const std::vector<Place>& places() const { return places_; }
  // Steps that run before dynamic_from(), in order (aliases, folded and fully placed concat steps are left out).
  const std::vector<int32_t>& schedule() const { return schedule_; }
  const std::vector<std::vector<BorderFill>>& fills() const { return fills_; }   // per step, before it runs
  const std::vector<size_t>& scratch_offset() const { return scratch_offset_; }  // per step, in the arena
  int dynamic_from() const { return dynamic_from_; }
  size_t arena_bytes() const { return arena_bytes_; }
  // Output k's place lies in the caller's buffer already (else the session copies it there).
  bool output_in_place(int k) const { return output_in_place_[k] != 0; }

 private:
  void resolve_shapes(const std::vector<Shape>& input_shapes);
  bool fold(int step, const std::vector<View>& in);
  void choose_outputs();
  void share_in_place();
  void place_concats();
  void grant_borders();
  void lay_out();
  bool joinable(int32_t value, int32_t concat) const;
  int32_t root(int32_t value) const;
  bool planned(int32_t value) const { return places_[value].home == Home::arena; }

  const Program& program_;
  std::vector<Place> places_;
  std::vector<int32_t> parent_;        // storage shared with that value (aliases, in place, concat), or -1
  std::vector<size_t> parent_offset_;  // bytes into the parent's storage
  std::vector<char> skipped_;          // steps with nothing to do
  std::vector<char> pinned_;  // values whose layout was chosen (output, concat part, border): no in-place games
  std::vector<int32_t> schedule_;
  std::vector<std::vector<BorderFill>> fills_;
  std::vector<size_t> scratch_offset_;
  std::vector<char> output_in_place_;
  std::vector<Buffer> folded_;
  int dynamic_from_ = 0;
  size_t arena_bytes_ = 0;
};

}  // namespace octavo
