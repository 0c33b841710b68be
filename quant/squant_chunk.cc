#include "quant/squant_chunk.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace squant::quant {
namespace {

constexpr std::size_t kMaxLanes = 16;

// Makes room for `size` elements and a vector's overhang.
template <class T>
T* room(std::vector<T>& buffer, std::int64_t size) {
  const std::size_t wanted = static_cast<std::size_t>(size) + kMaxLanes;
  if (buffer.size() < wanted) buffer.resize(wanted);
  return buffer.data();
}

RowRange plain_row_range(const float* values, std::int64_t size) {
  RowRange range{values[0], values[0], true};
  for (std::int64_t i = 0; i < size; ++i) {
    range.min = std::min(range.min, values[i]);
    range.max = std::max(range.max, values[i]);
    range.finite = range.finite && std::isfinite(values[i]);
  }
  return range;
}

class Chunk {
 public:
  Chunk(const SquantTensor& tensor, std::int64_t first_row, std::int64_t num_rows,
        const SquantOptions& options, const LaneLoops* loops, ChunkScratch& scratch)
      : tensor_(tensor),
        first_row_(first_row),
        num_rows_(num_rows),
        row_size_(tensor.shape.row()),
        options_(options),
        range_(signed_code_range(options.bits)),
        kernels_(has_kernel_stage(options.mode) && tensor.shape.kernel > 1),
        loops_(kernels_ && tensor.shape.kernel > kMaxLaneKernel ? nullptr : loops),
        scratch_(scratch) {}

  std::optional<WeightProblem> run() {
    if (const std::optional<WeightProblem> problem = find_ranges()) return problem;
    if (loops_ != nullptr) kernels_ ? run_kernels() : run_elements();
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      if (in_lanes(i)) continue;
      const std::int64_t row = first_row_ + i;
      squant_row(weights(i), tensor_.shape.in, tensor_.shape.kernel,
                 {tensor_.scale[row], tensor_.zero_point[row]}, range_, options_.mode,
                 options_.rounding, scratch_.row, codes(i));
    }
    return std::nullopt;
  }

 private:
  // Channel `i` of the chunk.
  const float* weights(std::int64_t i) const {
    return tensor_.weights + (first_row_ + i) * row_size_;
  }
  std::int8_t* codes(std::int64_t i) const { return tensor_.codes + (first_row_ + i) * row_size_; }
  const Affine& affine(std::int64_t i) const {
    return scratch_.affine[static_cast<std::size_t>(i)];
  }
  bool in_lanes(std::int64_t i) const { return loops_ != nullptr && affine(i).scale > 0; }

  std::optional<WeightProblem> find_ranges() {
    Affine* const lanes_affine = room(scratch_.affine, num_rows_);
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      const std::int64_t row = first_row_ + i;
      const RowRange found = (loops_ ? loops_->row_range : plain_row_range)(weights(i), row_size_);
      if (!found.finite) {
        const float* broken = std::find_if_not(weights(i), weights(i) + row_size_,
                                               [](float w) { return std::isfinite(w); });
        return WeightProblem{WeightProblem::Kind::kNotFinite, broken - tensor_.weights};
      }
      const Affine exact = affine_from_range(found.min, found.max, options_.bits);
      // x grows with the weight: these two bound every x, and so every error.
      const float x_min = to_code_units(found.min, exact);
      const float x_max = to_code_units(found.max, exact);
      if (!(exact.scale > 0) || !std::isfinite(x_min) || !std::isfinite(x_max)) {
        return WeightProblem{WeightProblem::Kind::kRangeOverflow, row * row_size_};
      }
      tensor_.scale[row] = exact.scale;
      tensor_.zero_point[row] = exact.zero_point;
      const bool fits_lanes =
          x_min >= range_.lo - kMaxLaneError && x_max <= range_.hi + kMaxLaneError;
      lanes_affine[i] = fits_lanes ? exact : Affine{0, 0};
    }
    return std::nullopt;
  }

  // Stage E, and C over all elements of a channel.
  void run_elements() {
    float* const errors = room(scratch_.errors, row_size_);
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      if (!in_lanes(i)) continue;
      const std::int64_t sum = loops_->round_row(weights(i), row_size_, affine(i), range_,
                                                 options_.rounding, codes(i), errors);
      if (!has_channel_stage(options_.mode)) continue;
      const FlipPlan plan = plan_flips(sum);
      if (plan.count == 0) continue;
      // Errors of weights are spread evenly over [-0.5, 0.5].
      const double count = static_cast<double>(plan.count);
      const double guess = 0.5 - (1.5 * count + 4) / static_cast<double>(row_size_);
      // An error of this direction at this code is no candidate: x is at or beyond it.
      const auto limit = static_cast<std::int8_t>(plan.up ? range_.hi : range_.lo);
      const std::int8_t* const row_codes = codes(i);
      const std::int64_t flips =
          find_largest(errors, row_size_, plan, static_cast<float>(guess),
                       [&](std::uint32_t at) { return row_codes[at] != limit; });
      for (std::int64_t f = 0; f < flips; ++f) {
        set_code(i, flip_key_index(scratch_.keys[static_cast<std::size_t>(f)]),
                 plan.up ? 1.0f : -1.0f);
      }
    }
  }

  // Stages E and K, and C over the elements that K named.
  void run_kernels() {
    const std::int64_t in = tensor_.shape.in;
    const std::int64_t kernel = tensor_.shape.kernel;
    const std::int64_t num_kernels = num_rows_ * in;
    const KernelStrip strip{.weights = weights(0),
                            .codes = codes(0),
                            .affine = scratch_.affine.data(),
                            .num_kernels = num_kernels,
                            .in = in,
                            .kernel = static_cast<int>(kernel),
                            .range = range_,
                            .rounding = options_.rounding,
                            .residual = room(scratch_.residual, num_kernels),
                            .named_error = room(scratch_.errors, num_kernels),
                            .named_index = room(scratch_.named_index, num_kernels)};
    loops_->fix_kernels(strip);
    if (!has_channel_stage(options_.mode)) return;
    for (std::int64_t i = 0; i < num_rows_; ++i) {
      if (!in_lanes(i)) continue;
      std::int64_t sum = 0;
      for (std::int64_t j = i * in; j < (i + 1) * in; ++j) sum += strip.residual[j];
      const FlipPlan plan = plan_flips(sum);
      if (plan.count == 0) continue;
      const std::int64_t flips = find_largest(strip.named_error + i * in, in, plan, 0.6f,
                                              [](std::uint32_t) { return true; });
      for (std::int64_t f = 0; f < flips; ++f) {
        const std::int64_t j = flip_key_index(scratch_.keys[static_cast<std::size_t>(f)]);
        const std::int32_t named = strip.named_index[i * in + j];
        const bool undo = (named & kUndo) != 0;
        set_code(i, j * kernel + (named & ~kUndo), undo ? 0.0f : plan.up ? 1.0f : -1.0f);
      }
    }
  }

  // The code of element `at` of channel `i`, this far from nearest rounding. Computed anew, for the
  // code that stands there is clamped already.
  void set_code(std::int64_t i, std::int64_t at, float step) {
    const float rounded =
        round_element(to_code_units(weights(i)[at], affine(i)), range_, options_.rounding);
    codes(i)[at] = static_cast<std::int8_t>(clamp_code(rounded + step, range_));
  }

  // Puts the keys of the (up to plan.count) flips with the largest priority in front of
  // scratch_.keys and returns how many there are. is_candidate tells for an index whether it may
  // flip; few may not.
  template <class IsCandidate>
  std::int64_t find_largest(const float* errors, std::int64_t size, const FlipPlan& plan,
                            float guess, IsCandidate is_candidate) {
    std::uint64_t* const keys = room(scratch_.keys, size);
    float threshold = find_threshold(errors, size, plan, guess);
    for (;;) {
      const std::int64_t found = loops_->collect_flips(errors, size, plan.up, threshold, keys);
      std::uint64_t* const end = std::remove_if(keys, keys + found, [&](std::uint64_t key) {
        return !is_candidate(flip_key_index(key));
      });
      if (end - keys >= plan.count) {
        if (end - keys > plan.count)
          std::nth_element(keys, keys + plan.count, end, std::greater<>());
        return plan.count;
      }
      if (threshold == kAnyError) return end - keys;
      threshold = kAnyError;
    }
  }

  static constexpr float kAnyError = std::numeric_limits<float>::denorm_min();

  // A threshold that at least plan.count errors reach, and not many more if that is soon found.
  float find_threshold(const float* errors, std::int64_t size, const FlipPlan& plan, float guess) {
    float below = kAnyError;
    float above = 1.0f;
    float threshold = guess > below ? guess : below;
    for (int i = 0; i < 8; ++i) {
      const std::int64_t reaching = loops_->count_flips(errors, size, plan.up, threshold);
      if (reaching < plan.count) {
        above = threshold;
      } else if (reaching > 2 * plan.count + 16) {
        below = threshold;
      } else {
        return threshold;
      }
      threshold = 0.5f * (below + above);
    }
    return below;
  }

  const SquantTensor& tensor_;
  const std::int64_t first_row_;
  const std::int64_t num_rows_;
  const std::int64_t row_size_;
  const SquantOptions& options_;
  const CodeRange range_;
  const bool kernels_;  // stage K runs
  const LaneLoops* const loops_;
  ChunkScratch& scratch_;
};

}  // namespace

std::optional<WeightProblem> squant_chunk(const SquantTensor& tensor, std::int64_t first_row,
                                          std::int64_t num_rows, const SquantOptions& options,
                                          const LaneLoops* loops, ChunkScratch& scratch) {
  return Chunk(tensor, first_row, num_rows, options, loops, scratch).run();
}

}  // namespace squant::quant
