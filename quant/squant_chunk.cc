#include "quant/squant_chunk.h"

#include <algorithm>
#include <cmath>

namespace squant::quant {
namespace {

// Makes room for `size` elements and the overhang of two vectors.
template <class T>
T* room(std::vector<T>& buffer, std::int64_t size) {
  const auto wanted = static_cast<std::size_t>(size + 2 * kMaxLanes);
  if (buffer.size() < wanted) buffer.resize(wanted);
  return buffer.data();
}

class Chunk {
 public:
  Chunk(const SquantTensor& tensor, std::int64_t first_row, std::int64_t num_rows,
        const SquantOptions& options, ChunkScratch& scratch)
      : shape_(tensor.shape),
        row_size_(tensor.shape.row()),
        first_weight_(first_row * row_size_),
        num_rows_(num_rows),
        weights_(tensor.weights + first_weight_),
        codes_(tensor.codes + first_weight_),
        scale_(tensor.scale + first_row),
        zero_point_(tensor.zero_point + first_row),
        options_(options),
        range_(signed_code_range(options.bits)),
        scratch_(scratch) {}

  // Every channel by squant_row.
  std::optional<WeightProblem> run_scalar() {
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      if (const auto problem = find_affine(i)) return problem;
      run_row(i);
    }
    return std::nullopt;
  }

  std::optional<WeightProblem> run_lanes(const LaneLoops& loops) {
    float* const lane_scale = room(scratch_.lane_scale, num_rows_);
    float* const lane_zero_point = room(scratch_.lane_zero_point, num_rows_);
    const RangeFindings found =
        loops.find_ranges(weights_, num_rows_, row_size_, options_.bits,
                          {scale_, zero_point_, lane_scale, lane_zero_point});
    if (found.broken) return first_problem();
    const LaneRows rows{.weights = weights_,
                        .codes = codes_,
                        .scale = lane_scale,
                        .zero_point = lane_zero_point,
                        .num_rows = num_rows_,
                        .in = shape_.in,
                        .kernel = shape_.kernel,
                        .range = range_,
                        .rounding = options_.rounding,
                        .clamp = found.clamp};
    if (has_kernel_stage(options_.mode) && shape_.kernel > 1) {
      run_kernels(loops, rows);
    } else {
      run_elements(loops, rows);
    }
    if (found.outside) {
      for (std::int64_t i = 0; i < num_rows_; ++i) {
        if (lane_scale[i] == 0) run_row(i);
      }
    }
    return std::nullopt;
  }

 private:
  // Stage E, and C over all elements of a channel.
  void run_elements(const LaneLoops& loops, const LaneRows& rows) {
    if (!has_channel_stage(options_.mode)) return loops.round_elements(rows, nullptr, nullptr);
    float* const errors = room(scratch_.errors, num_rows_ * row_size_);
    std::int64_t* const sums = room(scratch_.sums, num_rows_);
    loops.round_elements(rows, errors, sums);
    loops.fix_channels(rows, {.errors = errors,
                              .named_index = nullptr,
                              .size = row_size_,
                              .sums = sums,
                              .places = room(scratch_.places, row_size_),
                              .priorities = room(scratch_.priorities, row_size_)});
  }

  // Stages E and K, and C over the elements that K named.
  void run_kernels(const LaneLoops& loops, const LaneRows& rows) {
    const std::int64_t num_kernels = num_rows_ * shape_.in;
    const KernelOutputs kernels{.residual = room(scratch_.residual, num_kernels),
                                .named_error = room(scratch_.errors, num_kernels),
                                .named_index = room(scratch_.named_index, num_kernels)};
    loops.fix_kernels(rows, kernels);
    if (!has_channel_stage(options_.mode)) return;
    std::int64_t* const sums = room(scratch_.sums, num_rows_);
    loops.sum_residuals(kernels.residual, num_rows_, shape_.in, sums);
    loops.fix_channels(rows, {.errors = kernels.named_error,
                              .named_index = kernels.named_index,
                              .size = shape_.in,
                              .sums = sums,
                              .places = room(scratch_.places, shape_.in),
                              .priorities = room(scratch_.priorities, shape_.in)});
  }

  void run_row(std::int64_t i) {
    squant_row(weights_ + i * row_size_, shape_.in, shape_.kernel, {scale_[i], zero_point_[i]},
               range_, options_.mode, options_.rounding, scratch_.row, codes_ + i * row_size_);
  }

  // Writes the scale and zero point of channel i, unless its weights do not allow it.
  std::optional<WeightProblem> find_affine(std::int64_t i) {
    const float* const begin = weights_ + i * row_size_;
    const float* const end = begin + row_size_;
    const float* const broken =
        std::find_if_not(begin, end, [](float w) { return std::isfinite(w); });
    if (broken != end)
      return WeightProblem{WeightProblem::Kind::kNotFinite, first_weight_ + (broken - weights_)};
    const auto [min, max] = std::minmax_element(begin, end);
    const Affine affine = affine_from_range(*min, *max, options_.bits);
    // x grows with the weight: if these two are finite, all are.
    if (!(affine.scale > 0) || !std::isfinite(to_code_units(*min, affine)) ||
        !std::isfinite(to_code_units(*max, affine))) {
      return WeightProblem{WeightProblem::Kind::kRangeOverflow, first_weight_ + i * row_size_};
    }
    scale_[i] = affine.scale;
    zero_point_[i] = affine.zero_point;
    return std::nullopt;
  }

  std::optional<WeightProblem> first_problem() {
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      if (const auto problem = find_affine(i)) return problem;
    }
    return std::nullopt;
  }

  const WeightShape& shape_;
  const std::int64_t row_size_;
  const std::int64_t first_weight_;
  const std::int64_t num_rows_;
  const float* const weights_;  // of the chunk, as the three that follow
  std::int8_t* const codes_;
  float* const scale_;
  float* const zero_point_;
  const SquantOptions& options_;
  const CodeRange range_;
  ChunkScratch& scratch_;
};

}  // namespace

std::optional<WeightProblem> squant_chunk(const SquantTensor& tensor, std::int64_t first_row,
                                          std::int64_t num_rows, const SquantOptions& options,
                                          const LaneLoops* loops, ChunkScratch& scratch) {
  Chunk chunk(tensor, first_row, num_rows, options, scratch);
  const bool too_large = has_kernel_stage(options.mode) && tensor.shape.kernel > kMaxLaneKernel;
  return loops == nullptr || too_large ? chunk.run_scalar() : chunk.run_lanes(*loops);
}

}  // namespace squant::quant
