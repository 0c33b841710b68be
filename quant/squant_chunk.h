// What one thread does: SQuant on a few consecutive output channels of one tensor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "quant/squant.h"
#include "quant/squant_lanes.h"
#include "quant/squant_row.h"

namespace squant::quant {

// Buffers of a thread, reused from chunk to chunk.
struct ChunkScratch {
  std::vector<Affine>
      affine;  // of each channel; {0, 0}: a channel that the vector loops leave alone
  std::vector<float>
      errors;  // of a channel's elements or, where stage K runs, of each kernel's named one
  std::vector<std::int32_t> residual;     // of each kernel: the sum of errors that stage K left
  std::vector<std::int32_t> named_index;  // of each kernel: KernelStrip::named_index
  std::vector<std::uint64_t> keys;
  RowScratch row;
};

// Weights that cannot be quantized.
struct WeightProblem {
  enum class Kind : std::uint8_t { kNotFinite, kRangeOverflow };
  Kind kind;
  std::int64_t
      index;  // in the tensor: the weight; of a range that overflows the channel's first weight
};

// Quantizes channels [first_row, first_row + num_rows). `loops` is nullptr for the scalar path.
// Returns the first problem in memory order; the chunk's outputs are then unspecified.
std::optional<WeightProblem> squant_chunk(const SquantTensor& tensor, std::int64_t first_row,
                                          std::int64_t num_rows, const SquantOptions& options,
                                          const LaneLoops* loops, ChunkScratch& scratch);

}  // namespace squant::quant
