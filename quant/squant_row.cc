#include "quant/squant_row.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace squant::quant {
namespace {

// The channel that is being worked on.
struct Row {
  const float* weights;
  Affine affine;
  CodeRange range;
  RowScratch& scratch;

  float x(std::size_t i) const { return to_code_units(weights[i], affine); }

  void flip(std::size_t i, bool up) {
    scratch.rounded[i] += up ? 1.0f : -1.0f;
    scratch.error[i] = error_after_flip(scratch.error[i], up);
  }

  std::int64_t sum_errors(std::size_t begin, std::size_t end) const {
    std::int64_t sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += to_fixed(scratch.error[i]);
    return sum;
  }

  // The candidates of [begin, end), as keys.
  void collect_candidates(std::size_t begin, std::size_t end, bool up) {
    scratch.keys.clear();
    for (std::size_t i = begin; i < end; ++i) {
      if (can_flip(x(i), scratch.error[i], up, range)) {
        scratch.keys.push_back(
            flip_key(std::fabs(scratch.error[i]), static_cast<std::uint32_t>(i)));
      }
    }
  }
};

// Puts the `count` largest keys in front, the largest of the others behind them, and returns how
// many of `count` there are.
std::size_t partition_largest(std::vector<std::uint64_t>& keys, std::int64_t count) {
  const auto flips = std::min(static_cast<std::size_t>(count), keys.size());
  const auto middle = keys.begin() + static_cast<std::ptrdiff_t>(flips);
  if (middle != keys.end()) std::nth_element(keys.begin(), middle, keys.end(), std::greater<>());
  return flips;
}

// Stage K on the kernel [begin, end). Names at most one element for stage C; returns the sum of
// errors it leaves.
std::int64_t fix_kernel(Row& row, std::size_t begin, std::size_t end) {
  RowScratch& scratch = row.scratch;
  const std::int64_t sum = row.sum_errors(begin, end);
  const FlipPlan plan = plan_flips(sum);
  row.collect_candidates(begin, end, plan.up);
  const std::size_t flips = partition_largest(scratch.keys, plan.count);
  for (std::size_t i = 0; i < flips; ++i) row.flip(flip_key_index(scratch.keys[i]), plan.up);

  const auto flipped_end = scratch.keys.begin() + static_cast<std::ptrdiff_t>(flips);
  if (plan.enough && flips > 0) {  // undo the last one
    scratch.named.push_back(flip_key_index(*std::min_element(scratch.keys.begin(), flipped_end)));
    scratch.named_up.push_back(plan.up ? 0 : 1);
  } else if (!plan.enough && flipped_end != scratch.keys.end()) {  // go on with the next one
    scratch.named.push_back(flip_key_index(*flipped_end));
    scratch.named_up.push_back(plan.up ? 1 : 0);
  }
  const std::int64_t moved = static_cast<std::int64_t>(flips) << kFixedBits;
  return plan.up ? sum + moved : sum - moved;
}

}  // namespace

void squant_row(const float* weights, std::int64_t in, std::int64_t kernel, Affine affine,
                CodeRange range, Mode mode, Rounding rounding, RowScratch& scratch,
                std::int8_t* codes) {
  const auto size = static_cast<std::size_t>(in * kernel);
  scratch.rounded.resize(size);
  scratch.error.resize(size);
  Row row{weights, affine, range, scratch};
  for (std::size_t i = 0; i < size; ++i) {
    const float x = row.x(i);
    scratch.rounded[i] = round_element(x, range, rounding);
    scratch.error[i] = scratch.rounded[i] - x;
  }

  const bool kernels = has_kernel_stage(mode) && kernel > 1;
  std::int64_t sum = 0;
  if (kernels) {
    scratch.named.clear();
    scratch.named_up.clear();
    const auto step = static_cast<std::size_t>(kernel);
    for (std::size_t begin = 0; begin < size; begin += step)
      sum += fix_kernel(row, begin, begin + step);
  } else {
    sum = row.sum_errors(0, size);
  }

  if (has_channel_stage(mode)) {
    const FlipPlan plan = plan_flips(sum);
    if (kernels) {
      scratch.keys.clear();
      for (std::size_t i = 0; i < scratch.named.size(); ++i) {
        if ((scratch.named_up[i] != 0) != plan.up) continue;
        const std::uint32_t at = scratch.named[i];
        scratch.keys.push_back(flip_key(std::fabs(scratch.error[at]), at));
      }
    } else {
      row.collect_candidates(0, size, plan.up);
    }
    const std::size_t flips = partition_largest(scratch.keys, plan.count);
    for (std::size_t i = 0; i < flips; ++i) row.flip(flip_key_index(scratch.keys[i]), plan.up);
  }
  for (std::size_t i = 0; i < size; ++i) {
    codes[i] = static_cast<std::int8_t>(clamp_code(scratch.rounded[i], range));
  }
}

}  // namespace squant::quant
