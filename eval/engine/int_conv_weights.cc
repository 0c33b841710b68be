#include "eval/engine/int_conv_weights.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace squant::eval {
namespace {

// Beyond this, products with a sum of inputs (below 2^24 in every network) could leave int64.
constexpr double kLargestZeroPoint = 0x1p38;

std::int64_t integer_zero_point(const IntConvProblem& problem, std::size_t output) {
  const float zero_point = problem.zero_point[output];
  if (!(std::abs(zero_point) < kLargestZeroPoint)) {
    throw std::invalid_argument(
        problem.name + ": output channel " + std::to_string(output) + " has the zero point " +
        std::to_string(zero_point) +
        ", too large for exact sums; its weights are all but "
        "equal and far from 0: check the checkpoint, or use the simulated engine");
  }
  return std::llround(zero_point);
}

}  // namespace

InputRange stored_range(const CodeFormat& format) { return {format.lo, format.hi}; }

InputRange value_range(const CodeFormat& format) {
  return {std::int64_t{format.lo} + format.zero, std::int64_t{format.hi} + format.zero};
}

void check_input_range(const IntConvProblem& problem) {
  const InputRange range = value_range(problem.format);
  const double largest = static_cast<double>(std::max(std::abs(range.lo), std::abs(range.hi)));
  if (largest * static_cast<double>(weights_per_output(problem)) >= 0x1p31) {
    throw std::invalid_argument(problem.name + ": its activation range is far from 0 (zero point " +
                                std::to_string(problem.format.zero) +
                                "), which no calibration gives: calibrate the job again");
  }
}

std::int64_t weights_per_output(const IntConvProblem& problem) {
  return problem.input.channels / problem.groups * problem.window.kernel_h *
         problem.window.kernel_w;
}

bool has_padding(const IntConvProblem& problem) { return problem.window.padding != Padding{}; }

bool is_depthwise(const IntConvProblem& problem) {
  return problem.groups > 1 && problem.groups == problem.input.channels &&
         problem.groups == problem.output.channels;
}

double sum_bound(const std::vector<std::int32_t>& weights, std::int64_t outputs, std::int64_t parts,
                 InputRange range) {
  // A part is a slice of input channels: contiguous in [O, I, kh, kw].
  const std::size_t part = weights.size() / static_cast<std::size_t>(outputs * parts);
  std::int64_t bound = 0;
  for (std::size_t begin = 0; begin < weights.size(); begin += part) {
    std::int64_t lowest = 0;
    std::int64_t highest = 0;
    for (std::size_t i = begin; i < begin + part; ++i) {
      const std::int64_t a = weights[i] * range.lo;
      const std::int64_t b = weights[i] * range.hi;
      lowest += std::min({a, b, std::int64_t{0}});
      highest += std::max({a, b, std::int64_t{0}});
    }
    bound = std::max({bound, highest, -lowest});
  }
  return static_cast<double>(bound);
}

double exact_sum_bound(const IntConvProblem& problem) {
  const InputRange range = value_range(problem.format);
  const auto row = static_cast<std::size_t>(weights_per_output(problem));
  double bound = 0;
  for (std::size_t o = 0; o < problem.zero_point.size(); ++o) {
    double lowest = 0;
    double highest = 0;
    for (std::size_t i = o * row; i < (o + 1) * row; ++i) {
      const double w =
          static_cast<double>(problem.codes[i]) + static_cast<double>(problem.zero_point[o]);
      const double a = w * static_cast<double>(range.lo);
      const double b = w * static_cast<double>(range.hi);
      lowest += std::min({a, b, 0.0});
      highest += std::max({a, b, 0.0});
    }
    bound = std::max({bound, highest, -lowest});
  }
  return bound;
}

SplitWeights weights_within(const IntConvProblem& problem, std::int64_t lo, std::int64_t hi) {
  const auto row = static_cast<std::size_t>(weights_per_output(problem));
  SplitWeights result;
  result.values.resize(problem.codes.size());
  for (std::size_t o = 0; o < problem.zero_point.size(); ++o) {
    const std::int64_t zero = integer_zero_point(problem, o);
    const auto codes = problem.codes.subspan(o * row, row);
    const auto [smallest, largest] = std::minmax_element(codes.begin(), codes.end());
    const bool fits = *smallest + zero >= lo && *largest + zero <= hi;
    const std::int64_t added = fits ? zero : 0;
    for (std::size_t i = 0; i < row; ++i) {
      result.values[o * row + i] = static_cast<std::int32_t>(codes[i] + added);
    }
    if (!fits) {
      result.zero.resize(problem.zero_point.size(), 0);
      result.zero[o] = zero;
    }
  }
  return result;
}

std::int64_t parts_below(const SplitWeights& weights, const IntConvProblem& problem,
                         InputRange range, double limit) {
  constexpr std::int64_t kMostParts = 16;
  const std::int64_t channels = problem.input.channels / problem.groups;
  for (std::int64_t parts = 1; parts <= std::min(kMostParts, channels); ++parts) {
    if (channels % parts == 0 &&
        sum_bound(weights.values, problem.output.channels, parts, range) < limit) {
      return parts;
    }
  }
  return 0;
}

bool merged_below(const SplitWeights& weights, const IntConvProblem& problem, InputRange range,
                  double limit) {
  const double inputs = static_cast<double>(weights_per_output(problem)) *
                        static_cast<double>(std::max(std::abs(range.lo), std::abs(range.hi)));
  double largest = 0;
  for (std::size_t o = 0; o < problem.zero_point.size(); ++o) {
    const double zero = weights.zero.empty() ? 0 : std::abs(static_cast<double>(weights.zero[o]));
    const double constant =
        weights.constant.empty() ? 0 : std::abs(static_cast<double>(weights.constant[o]));
    largest = std::max(largest, zero * inputs + constant);
  }
  return largest + sum_bound(weights.values, problem.output.channels, 1, range) < limit;
}

}  // namespace squant::eval
