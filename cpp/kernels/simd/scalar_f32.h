// The float vocabulary of level `scalar`: one lane, defined beside the functions' definitions in core.
#pragma once

#include <cstdint>

namespace octavo {
namespace scalar {
namespace {
#include "core/lane_f32.inl"
}  // namespace
}  // namespace scalar
}  // namespace octavo
