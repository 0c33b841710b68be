// Own loops over float64 products: the kernel that always works, and the first layer on float
// input.
#include <algorithm>
#include <vector>

#include "eval/engine/int_conv_kernels.h"
#include "eval/engine/int_conv_padded.h"
#include "eval/engine/int_conv_sums.h"
#include "eval/engine/int_conv_weights.h"
#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

constexpr double kLimit = 0x1p53;

struct DirectRows {
  const double* input;    // [height, width, C], padding included
  const double* weights;  // [group, kh, kw, I / groups, O / groups]
  double* sums;           // [rows, out_width, O]
  std::int64_t rows, width, out_width;
  std::int64_t groups, group_inputs, group_outputs;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w;
};

// kLanes outputs of one position: taps and input channels in order, so that even inexact sums are
// the same everywhere.
template <std::int64_t kLanes>
[[gnu::always_inline]] inline void direct_tile(const DirectRows& a, const double* input,
                                               const double* weights, double* sums) {
  const std::int64_t channels = a.groups * a.group_inputs;
  double acc[kLanes] = {};
  for (std::int64_t ky = 0; ky < a.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < a.kernel_w; ++kx) {
      const double* x = input + (ky * a.width + kx) * channels;
      for (std::int64_t i = 0; i < a.group_inputs; ++i, weights += a.group_outputs) {
        for (std::int64_t o = 0; o < kLanes; ++o) {
          acc[o] += x[i] * weights[o];
        }
      }
    }
  }
  std::copy_n(acc, kLanes, sums);
}

SQ_TARGET_CLONES void direct(const DirectRows& a) {
  const std::int64_t channels = a.groups * a.group_inputs;
  const std::int64_t group_weights = a.kernel_h * a.kernel_w * a.group_inputs * a.group_outputs;
  double* sums = a.sums;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    for (std::int64_t column = 0; column < a.out_width; ++column) {
      for (std::int64_t g = 0; g < a.groups; ++g, sums += a.group_outputs) {
        const double* input = a.input +
                              (row * a.stride_h * a.width + column * a.stride_w) * channels +
                              g * a.group_inputs;
        const double* weights = a.weights + g * group_weights;
        std::int64_t o = 0;
        for (; o + 32 <= a.group_outputs; o += 32) {
          direct_tile<32>(a, input, weights + o, sums + o);
        }
        for (; o + 8 <= a.group_outputs; o += 8) {
          direct_tile<8>(a, input, weights + o, sums + o);
        }
        for (; o < a.group_outputs; ++o) {
          direct_tile<1>(a, input, weights + o, sums + o);
        }
      }
    }
  }
}

// [O, I / groups, K] to [group, K, I / groups, O / groups]; weight(i) is the element i of the
// former.
template <typename Weight>
std::vector<double> direct_weights(const IntConvProblem& problem, const Weight& weight) {
  const std::int64_t kernel = problem.window.kernel_h * problem.window.kernel_w;
  const std::int64_t inputs = problem.input.channels / problem.groups;
  const std::int64_t outputs = problem.output.channels / problem.groups;
  std::vector<double> result(problem.codes.size());
  for (std::int64_t o = 0; o < problem.output.channels; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      for (std::int64_t k = 0; k < kernel; ++k) {
        const std::int64_t to = ((o / outputs * kernel + k) * inputs + i) * outputs + o % outputs;
        result[static_cast<std::size_t>(to)] =
            weight(static_cast<std::size_t>((o * inputs + i) * kernel + k));
      }
    }
  }
  return result;
}

DirectRows direct_rows(const IntConvProblem& problem, const PaddedStrip& shape, std::int64_t rows) {
  const Window& window = problem.window;
  return {nullptr,
          nullptr,
          nullptr,
          rows,
          shape.width,
          problem.output.width,
          problem.groups,
          problem.input.channels / problem.groups,
          problem.output.channels / problem.groups,
          window.kernel_h,
          window.kernel_w,
          window.stride_h,
          window.stride_w};
}

class Float64Conv final : public IntConv {
 public:
  Float64Conv(const IntConvProblem& problem, const SplitWeights& weights)
      : problem_(problem),
        weights_(direct_weights(
            problem, [&](std::size_t i) { return static_cast<double>(weights.values[i]); })),
        merger_(weights, problem, value_range(problem.format)) {
    problem_.codes = {};
    problem_.zero_point = {};
    strips_ = plan_strips(problem.output, 2);
  }

  void run(const void* input, const Strip& strip, Scratch& scratch, float* values) const override {
    const PaddedStrip shape = padded_strip(problem_, strip);
    auto* padded = scratch.get<double>(ScratchUse::kInput, shape.size());
    pad_strip(problem_, shape, input, padded);
    const std::int64_t positions = strip.count * problem_.output.width;
    auto* raw = scratch.get<double>(ScratchUse::kRawSums, positions * problem_.output.channels);
    DirectRows rows = direct_rows(problem_, shape, strip.count);
    rows.input = padded;
    rows.weights = weights_.data();
    rows.sums = raw;
    direct(rows);
    std::int32_t* sums = nullptr;
    if (merger_.needs_sums()) {
      sums = scratch.get<std::int32_t>(ScratchUse::kInputSums, positions * problem_.groups);
      window_sums(problem_, input, strip, scratch, sums);
    }
    merger_.run(raw, sums, positions, values);
  }
  SumKernel kernel() const override { return SumKernel::kFloat64; }
  std::int64_t memory_bytes() const override {
    return static_cast<std::int64_t>(weights_.size() * sizeof(double));
  }

 private:
  IntConvProblem problem_;
  std::vector<double> weights_;
  SumMerger merger_;
};

}  // namespace

std::unique_ptr<IntConv> make_float64_conv(const IntConvProblem& problem) {
  constexpr std::int64_t kLargestWeight = (std::int64_t{1} << 31) - 1;
  const InputRange range = value_range(problem.format);
  SplitWeights weights = weights_within(problem, -kLargestWeight, kLargestWeight);
  if (sum_bound(weights.values, problem.output.channels, 1, range) >= kLimit) {
    weights = weights_within(problem, -128, 127);
  }
  if (!merged_below(weights, problem, range, 0x1p62)) {
    return nullptr;
  }
  return std::make_unique<Float64Conv>(problem, weights);
}

struct FloatInputConv::Impl {
  IntConvProblem problem;
  std::vector<double> weights;
};

FloatInputConv::FloatInputConv(const IntConvProblem& problem) : impl_(std::make_unique<Impl>()) {
  const auto row = static_cast<std::size_t>(weights_per_output(problem));
  impl_->weights = direct_weights(problem, [&](std::size_t i) {
    return static_cast<double>(problem.codes[i]) + static_cast<double>(problem.zero_point[i / row]);
  });
  impl_->problem = problem;
  impl_->problem.codes = {};
  impl_->problem.zero_point = {};
}

FloatInputConv::~FloatInputConv() = default;

void FloatInputConv::run(const float* input, Scratch& scratch, float* values) const {
  const IntConvProblem& problem = impl_->problem;
  const std::int64_t row_values = problem.output.width * problem.output.channels;
  for (const Strip& strip : plan_strips(problem.output, 2)) {
    const PaddedStrip shape = padded_strip(problem, strip);
    auto* padded = scratch.get<double>(ScratchUse::kInput, shape.size());
    pad_strip_float(problem, shape, input, padded);
    DirectRows rows = direct_rows(problem, shape, strip.count);
    rows.input = padded;
    rows.weights = impl_->weights.data();
    rows.sums = scratch.get<double>(ScratchUse::kRawSums, strip.count * row_values);
    direct(rows);
    std::copy_n(rows.sums, strip.count * row_values, values + strip.first * row_values);
  }
}

}  // namespace squant::eval
