// What one thread does: SQuant on a few consecutive output channels of one tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "quant/lanes/lanes.h"
#include "quant/squant.h"
#include "quant/squant_row.h"

namespace squant::quant {

// Buffers of a thread, reused from chunk to chunk; quant/lanes/lanes.h says what they hold.
struct ChunkScratch {
  std::vector<float> lane_scale;
  std::vector<float> lane_zero_point;
  std::vector<float> errors;  // of elements or, where stage K runs, of each kernel's named one
  std::vector<std::int32_t> residual;
  std::vector<std::int32_t> named_index;
  std::vector<std::int64_t> sums;
  std::vector<std::int32_t> places;
  std::vector<std::int32_t> priorities;
  RowScratch row;
};

// Weights that cannot be quantized.
struct WeightProblem {
  enum class Kind : std::uint8_t { kNotFinite, kRangeOverflow };
  Kind kind;
  std::int64_t
      index;  // in the tensor: the weight; of a range that overflows, the channel's first one
};

// Quantizes channels [first_row, first_row + num_rows). `loops` is nullptr for the scalar path.
// Returns the first problem in memory order; the chunk's outputs are then unspecified.
std::optional<WeightProblem> squant_chunk(const SquantTensor& tensor, std::int64_t first_row,
                                          std::int64_t num_rows, const SquantOptions& options,
                                          const LaneLoops* loops, ChunkScratch& scratch);

}  // namespace squant::quant
