#include "eval/cuda/layer_operations.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "eval/cuda/conv_tile_shape.h"

namespace squant::eval::cuda {
namespace {

// Sums of this magnitude and more do not fit 32 bits.
constexpr double kLimit32 = 0x1p31;

std::int32_t narrow(std::int64_t value) { return static_cast<std::int32_t>(value); }
std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

Outputs with_affine(const LayerSource& source, double input_scale, Tables& tables) {
  const ChannelAffine affine = sum_affine(source.real, source.weight_scale, input_scale);
  Outputs out = source.out;
  out.multiplier = tables.add(rounded(affine.multiplier));
  out.addend = tables.add(rounded(affine.addend));
  return out;
}

std::int64_t add_zero(const SplitWeights& weights, Tables& tables) {
  return weights.zero.empty() ? -1 : tables.add(weights.zero);
}

// [O, I / groups, K] to [groups, group_rows, row_pitch], see ConvOp.
std::vector<std::int8_t> tile_rows(const SplitWeights& weights, const IntConvProblem& problem,
                                   const ConvOp& op) {
  const std::int64_t inputs = problem.input.channels / problem.groups;
  const std::int64_t outputs = problem.output.channels / problem.groups;
  const std::int64_t kernel = problem.window.kernel_h * problem.window.kernel_w;
  std::vector<std::int8_t> rows(
      static_cast<std::size_t>(problem.groups * op.group_rows * op.row_pitch), 0);
  for (std::int64_t o = 0; o < problem.output.channels; ++o) {
    const std::int64_t to = (o / outputs * op.group_rows + o % outputs) * op.row_pitch;
    for (std::int64_t i = 0; i < inputs; ++i) {
      for (std::int64_t k = 0; k < kernel; ++k) {
        rows[static_cast<std::size_t>(to + k * op.tap_pitch + i)] = static_cast<std::int8_t>(
            weights.values[static_cast<std::size_t>((o * inputs + i) * kernel + k)]);
      }
    }
  }
  return rows;
}

// [O, I, K] to [I, K, O]: neighbouring threads, which compute neighbouring outputs, read
// neighbouring weights.
std::vector<std::int8_t> outputs_last(const SplitWeights& weights, std::int64_t outputs) {
  const std::int64_t row = static_cast<std::int64_t>(weights.values.size()) / outputs;
  std::vector<std::int8_t> result(weights.values.size());
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < row; ++i) {
      result[static_cast<std::size_t>(i * outputs + o)] =
          static_cast<std::int8_t>(weights.values[static_cast<std::size_t>(o * row + i)]);
    }
  }
  return result;
}

// [O, C, kh, kw] to PixelConvOp::tile_weights.
std::vector<std::int8_t> pixel_rows(const SplitWeights& weights, const PixelConvOp& op) {
  const WindowShape& shape = op.shape;
  std::vector<std::int8_t> rows(static_cast<std::size_t>(shape.in_c * op.channel_rows * kTileDepth),
                                0);
  auto weight = weights.values.begin();
  for (std::int32_t o = 0; o < shape.out_c; ++o) {
    for (std::int32_t c = 0; c < shape.in_c; ++c) {
      for (std::int32_t ky = 0; ky < shape.kernel_h; ++ky) {
        for (std::int32_t kx = 0; kx < shape.kernel_w; ++kx) {
          rows[static_cast<std::size_t>((c * op.channel_rows + o) * kTileDepth + ky * kPixelTaps +
                                        kx)] = static_cast<std::int8_t>(*weight++);
        }
      }
    }
  }
  return rows;
}

// zero * sum of an output's stored weights.
std::vector<std::int64_t> zero_constants(const SplitWeights& weights,
                                         const IntConvProblem& problem) {
  const std::int64_t row = weights_per_output(problem);
  std::vector<std::int64_t> constants;
  for (auto begin = weights.values.begin(); begin != weights.values.end(); begin += row) {
    constants.push_back(std::accumulate(begin, begin + row, std::int64_t{0}) * problem.format.zero);
  }
  return constants;
}

bool fits_pixel_tiles(const WindowShape& shape) {
  return shape.kernel_h <= kPixelTaps && shape.kernel_w <= kPixelTaps &&
         shape.in_c <= kMostPixelChannels;
}

DepthwiseOp depthwise_layer(const LayerSource& source, const SplitWeights& weights,
                            double input_scale, Tables& tables) {
  const IntConvProblem& problem = source.problem;
  DepthwiseOp op;
  op.shape = window_shape(problem.window, problem.input, problem.output);
  op.input = source.input;
  op.is_signed = problem.format.is_signed;
  op.zero = problem.format.zero;
  op.weights = tables.add(outputs_last(weights, problem.output.channels));
  op.weight_zero = add_zero(weights, tables);
  op.out = with_affine(source, input_scale, tables);
  return op;
}

// Tiles read padding as stored zeros, which must stand for X = 0.
bool fits_tiles(const ConvOp& op, const SplitWeights& weights, const IntConvProblem& problem) {
  return op.shape.kernel_h <= kMostTaps && op.shape.kernel_w <= kMostTaps && !op.wide_sums &&
         !(problem.format.zero != 0 && has_padding(problem)) &&
         sum_bound(weights.values, problem.output.channels, 1, stored_range(problem.format)) <
             kLimit32;
}

}  // namespace

WindowShape window_shape(const Window& window, const Shape& input, const Shape& output) {
  WindowShape shape;
  shape.in_h = narrow(input.height);
  shape.in_w = narrow(input.width);
  shape.in_c = narrow(input.channels);
  shape.out_h = narrow(output.height);
  shape.out_w = narrow(output.width);
  shape.out_c = narrow(output.channels);
  shape.kernel_h = narrow(window.kernel_h);
  shape.kernel_w = narrow(window.kernel_w);
  shape.stride_h = narrow(window.stride_h);
  shape.stride_w = narrow(window.stride_w);
  shape.pad_top = narrow(window.padding.top);
  shape.pad_left = narrow(window.padding.left);
  shape.pad_bottom = narrow(window.padding.bottom);
  shape.pad_right = narrow(window.padding.right);
  return shape;
}

Operation code_layer(const LayerSource& source, double input_scale, bool tensor_cores,
                     Tables& tables) {
  const IntConvProblem& problem = source.problem;
  check_input_range(problem);
  const SplitWeights weights = weights_within(problem, -128, 127);
  const InputRange range = value_range(problem.format);
  if (!merged_below(weights, problem, range, 0x1p62)) {
    throw std::invalid_argument(problem.name + ": its integer sums can reach " +
                                std::to_string(exact_sum_bound(problem)) +
                                ", more than 64 bits hold");
  }
  const bool wide_sums = sum_bound(weights.values, problem.output.channels, 1, range) >= kLimit32;
  if (is_depthwise(problem) && !wide_sums) {
    return depthwise_layer(source, weights, input_scale, tables);
  }
  ConvOp op;
  op.shape = window_shape(problem.window, problem.input, problem.output);
  op.groups = narrow(problem.groups);
  op.input = source.input;
  op.is_signed = problem.format.is_signed;
  op.lowest = problem.format.lo;
  op.highest = problem.format.hi;
  op.zero = problem.format.zero;
  op.wide_sums = wide_sums;
  op.tap_pitch = narrow(round_up(problem.input.channels / problem.groups, kChunkBytes));
  op.row_pitch = narrow(
      round_up(problem.window.kernel_h * problem.window.kernel_w * op.tap_pitch, kTileDepth));
  op.group_rows = narrow(round_up(problem.output.channels / problem.groups, kWarpOutputs));
  op.weights = tables.add(tile_rows(weights, problem, op));
  op.weight_zero = add_zero(weights, tables);
  op.narrow = merged_below(weights, problem, range, kLimit32);
  op.tensor_cores = tensor_cores && fits_tiles(op, weights, problem);
  if (op.tensor_cores && op.zero != 0) {
    op.constant = tables.add(zero_constants(weights, problem));
  }
  op.out = with_affine(source, input_scale, tables);
  return op;
}

Operation float_input_layer(const LayerSource& source, Tables& tables) {
  const IntConvProblem& problem = source.problem;
  FloatConvOp op;
  op.shape = window_shape(problem.window, problem.input, problem.output);
  op.groups = narrow(problem.groups);
  op.input = source.input;
  const std::int64_t outputs = problem.output.channels;
  const std::int64_t inputs = problem.input.channels / problem.groups;
  const std::int64_t kernel = problem.window.kernel_h * problem.window.kernel_w;
  std::vector<double> weights(problem.codes.size());
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      for (std::int64_t k = 0; k < kernel; ++k) {
        weights[static_cast<std::size_t>((k * inputs + i) * outputs + o)] =
            static_cast<double>(
                problem.codes[static_cast<std::size_t>((o * inputs + i) * kernel + k)]) +
            static_cast<double>(problem.zero_point[static_cast<std::size_t>(o)]);
      }
    }
  }
  op.weights = tables.add(weights);
  op.out = with_affine(source, 1.0, tables);
  return op;
}

Operation pixel_layer(const LayerSource& source, const ModelInfo& info, bool tensor_cores,
                      Tables& tables) {
  const IntConvProblem& problem = source.problem;
  const SplitWeights weights = weights_within(problem, -128, 127);
  PixelConvOp op;
  op.shape = window_shape(problem.window, problem.input, problem.output);
  op.weights = tables.add(outputs_last(weights, problem.output.channels));
  op.weight_zero = add_zero(weights, tables);
  const PixelConstants constants = pixel_constants(problem, info, source.real, source.weight_scale);
  op.factors = tables.add(constants.factors);
  std::vector<float> shifts;
  for (const std::vector<float>& row : constants.shifts) {
    shifts.insert(shifts.end(), row.begin(), row.end());
  }
  op.shifts = tables.add(shifts);
  op.shift_of_row = tables.add(
      std::vector<std::int32_t>(constants.shift_of_row.begin(), constants.shift_of_row.end()));
  constexpr InputRange kPixels{0, 255};
  op.tensor_cores = tensor_cores && fits_pixel_tiles(op.shape) &&
                    merged_below(weights, problem, kPixels, kLimit32);
  if (op.tensor_cores) {
    op.channel_rows = narrow(round_up(problem.output.channels, kWarpOutputs));
    op.tile_weights = tables.add(pixel_rows(weights, op));
  }
  op.out = source.out;
  return op;
}

}  // namespace squant::eval::cuda
