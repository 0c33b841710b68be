// One output channel by a team of threads: what the CUDA kernels run, and what host tests run with
// std::thread. C++17, host and device.
#pragma once

#include <cstdint>

#include "quant/squant_team_any.h"
#include "quant/squant_team_inside.h"
#include "quant/squant_team_write.h"
#include "quant/team.h"

namespace squant::quant {

// Copies the row's weights to `staged`. Returns the range of this member's share.
template <class Team>
SQ_HOST_DEVICE WeightRange stage_weights(Team& team, const float* weights, std::int32_t size,
                                         float* staged) {
  WeightRange range{INFINITY, -INFINITY};
  std::int32_t done = 0;
  if (is_aligned<FloatPack>(weights)) {
    const std::int32_t packs = size / 4;
    for (std::int32_t i = team.rank(); i < packs; i += team.size())
      copy_pack(staged + 4 * i, weights + 4 * i);
    finish_copies();
    for (std::int32_t i = team.rank(); i < packs; i += team.size()) {
      const auto pack = load_pack<FloatPack>(staged + 4 * i);
      for (const float weight : pack.v) range = widened(range, weight);
    }
    done = packs * 4;
  }
  for (std::int32_t i = done + team.rank(); i < size; i += team.size()) {
    const float weight = weights[i];
    staged[i] = weight;
    range = widened(range, weight);
  }
  return range;
}

SQ_HOST_DEVICE bool is_finite(float value) { return value - value == 0.0f; }

// How all channels of a launch are done.
struct TeamOptions {
  int bits;
  Mode mode;
  Rounding rounding;
  CudaOutput output;
};

// Where a channel's results go: its output (output_bytes of it), scale and zero point.
struct TeamResult {
  void* output;
  float* scale;
  float* zero_point;
};

// The whole channel. Returns whether every weight is finite, and scale and zero point too; if not,
// nothing was written.
template <class Team>
SQ_HOST_DEVICE bool squant_team_row(Team& team, const TeamRow& row, const TeamOptions& options,
                                    const TeamScratch& scratch, const TeamResult& result) {
  const std::int32_t size = row.in * row.kernel;
  const WeightRange range = team.range_of(stage_weights(team, row.weights, size, scratch.error));
  if (!is_finite(range.min) || !is_finite(range.max)) return false;
  const Affine affine = affine_from_range(range.min, range.max, options.bits);
  // x grows with the weight: what holds for these two holds for all between them.
  const float lowest = to_code_units(range.min, affine);
  const float highest = to_code_units(range.max, affine);
  if (!(affine.scale > 0.0f) || !is_finite(lowest) || !is_finite(highest)) return false;
  if (team.rank() == 0) {
    *result.scale = affine.scale;
    *result.zero_point = affine.zero_point;
  }

  const CodeRange codes = signed_code_range(options.bits);
  if (rounds_inside(lowest, highest, codes)) {
    round_inside_row(team, row, affine, codes, options.mode, options.rounding, scratch);
  } else {
    round_any_row(team, AnyRow{row, affine, codes, options.rounding, scratch}, options.mode);
  }
  team.sync();
  write_output(team, options.output, scratch.codes, result.output, size, affine);
  return true;
}

}  // namespace squant::quant
