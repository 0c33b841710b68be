// A layer's integer weights, brought into a kernel's range, with the bound that proves its sums
// exact.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/engine/int_conv.h"

namespace squant::eval {

// The integers that an input can be.
struct InputRange {
  std::int64_t lo = 0, hi = 255;
};
InputRange stored_range(const CodeFormat& format);  // as the bytes say
InputRange value_range(const CodeFormat& format);   // X = stored + zero

// acc = sum w * x + zero * sum x + constant, where the first sum may be cut into `parts` along the
// input channels.
struct SplitWeights {
  std::vector<std::int32_t> values;    // w: [O, I / groups, kh, kw]
  std::vector<std::int64_t> zero;      // [O]; empty: all 0
  std::vector<std::int64_t> constant;  // [O]; empty: all 0
  std::int64_t parts = 1;              // each part's sums are below the kernel's limit
};

// Sums of inputs are kept in 32 bits. Throws std::invalid_argument, naming the layer, for an
// activation range so far from 0 that they would not fit.
void check_input_range(const IntConvProblem& problem);

std::int64_t weights_per_output(const IntConvProblem& problem);
bool has_padding(const IntConvProblem& problem);
bool is_depthwise(const IntConvProblem& problem);

// No |sum w * x| over any subset of the taps of any part of an output exceeds this.
double sum_bound(const std::vector<std::int32_t>& weights, std::int64_t outputs, std::int64_t parts,
                 InputRange range);
// The same for the whole W = code + zero_point, in double: no overflow for huge zero points.
double exact_sum_bound(const IntConvProblem& problem);

// w = W where all of an output channel's W lie in [lo, hi], else w = code and zero = zero_point.
// Throws std::invalid_argument, naming the layer, for a zero point that no integer type holds.
SplitWeights weights_within(const IntConvProblem& problem, std::int64_t lo, std::int64_t hi);

// The fewest parts (a divisor of the input channels of a group, at most 16) whose sums stay below
// `limit`; 0: none.
std::int64_t parts_below(const SplitWeights& weights, const IntConvProblem& problem,
                         InputRange range, double limit);

// [O, I / groups, K] to [group, part, O / groups, I / groups / parts, K]: each part becomes a group
// of its own.
template <typename T>
std::vector<T> part_weights(const SplitWeights& weights, const IntConvProblem& problem) {
  const std::int64_t row = weights_per_output(problem);
  const std::int64_t part = row / weights.parts;
  const std::int64_t group_outputs = problem.output.channels / problem.groups;
  std::vector<T> result(weights.values.size());
  for (std::int64_t o = 0; o < problem.output.channels; ++o) {
    for (std::int64_t p = 0; p < weights.parts; ++p) {
      const std::int64_t from = o * row + p * part;
      const std::int64_t to =
          ((o / group_outputs * weights.parts + p) * group_outputs + o % group_outputs) * part;
      for (std::int64_t i = 0; i < part; ++i) {
        result[static_cast<std::size_t>(to + i)] =
            static_cast<T>(weights.values[static_cast<std::size_t>(from + i)]);
      }
    }
  }
  return result;
}

// Whether |w * x + zero * sum x + constant| stays below `limit` for every output.
bool merged_below(const SplitWeights& weights, const IntConvProblem& problem, InputRange range,
                  double limit);

}  // namespace squant::eval
