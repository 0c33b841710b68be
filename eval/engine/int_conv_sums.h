// What stands around a kernel's sums: sums of inputs, and the merging of parts and zero points into
// float(acc).
#pragma once

#include <cstdint>
#include <vector>

#include "eval/engine/int_conv.h"
#include "eval/engine/int_conv_weights.h"

namespace squant::eval {

// The input rows under a strip of output rows; taps outside the image are padding.
struct InputRows {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t pad_top = 0;
  std::int64_t pad_bottom = 0;
};
InputRows input_rows(const IntConvProblem& problem, const Strip& strip);

// The columns of padding right of the image that the last window reads.
std::int64_t pad_right(const IntConvProblem& problem);

// Strips of whole output rows whose sums, in `parts` parts, take about a quarter of a core's
// second-level cache.
std::vector<Strip> plan_strips(const Shape& output, std::int64_t parts);

// sums: [strip.count, OW, groups], written: the sum of X over the taps inside the image.
void window_sums(const IntConvProblem& problem, const void* input, const Strip& strip,
                 Scratch& scratch, std::int32_t* sums);

// float(sum over the parts + zero * sum of inputs + constant), in integers wide enough for the
// layer.
class SumMerger {
 public:
  // range: of the inputs that `weights` multiplies.
  SumMerger(const SplitWeights& weights, const IntConvProblem& problem, InputRange range);

  // One part, no zero points, no constants: float(raw) is all there is to do.
  bool is_trivial() const { return parts_ == 1 && zero_.empty() && constant_.empty(); }
  bool needs_sums() const { return !zero_.empty(); }

  // raw: [positions, group, part, output of the group], integers; as float below 2^24, as double
  // below 2^53. sums: [positions, group], null unless needs_sums(). values: [positions, O],
  // written.
  void run(const std::int32_t* raw, const std::int32_t* sums, std::int64_t positions,
           float* values) const;
  void run(const float* raw, const std::int32_t* sums, std::int64_t positions, float* values) const;
  void run(const double* raw, const std::int32_t* sums, std::int64_t positions,
           float* values) const;

 private:
  template <typename Raw>
  void merge(const Raw* raw, const std::int32_t* sums, std::int64_t positions, float* values) const;

  std::int64_t groups_, group_outputs_, parts_;
  bool narrow_;  // 32-bit integers hold every intermediate result
  std::vector<std::int64_t> zero_, constant_;
  std::vector<std::int32_t> narrow_zero_, narrow_constant_;
};

}  // namespace squant::eval
