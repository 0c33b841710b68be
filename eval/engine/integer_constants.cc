#include "eval/engine/integer_constants.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>

namespace squant::eval {
namespace {

// Window taps inside the image along one side: [first, end).
struct TapRange {
  std::int64_t first = 0, end = 0;
  auto operator<=>(const TapRange&) const = default;
};
TapRange taps_inside(std::int64_t position, std::int64_t stride, std::int64_t padding,
                     std::int64_t kernel, std::int64_t size) {
  const std::int64_t begin = position * stride - padding;
  return {std::clamp(-begin, std::int64_t{0}, kernel),
          std::clamp(size - begin, std::int64_t{0}, kernel)};
}

// An integer below 2^53: exact.
double weight_sum(const IntConvProblem& problem, std::int64_t o, std::int64_t c, TapRange rows,
                  TapRange columns) {
  const Window& window = problem.window;
  const std::int64_t base = (o * problem.input.channels + c) * window.kernel_h * window.kernel_w;
  double sum = 0;
  for (std::int64_t y = rows.first; y < rows.end; ++y) {
    for (std::int64_t x = columns.first; x < columns.end; ++x) {
      sum += static_cast<double>(
                 problem.codes[static_cast<std::size_t>(base + y * window.kernel_w + x)]) +
             static_cast<double>(problem.zero_point[static_cast<std::size_t>(o)]);
    }
  }
  return sum;
}

// [OW, O] of an output row whose windows see the tap rows `rows`.
std::vector<float> shift_row(const IntConvProblem& problem, const ModelInfo& info,
                             const ChannelAffine& real, const std::vector<double>& per_sum,
                             TapRange rows) {
  const Window& window = problem.window;
  std::map<TapRange, std::vector<float>> known;
  std::vector<float> result;
  for (std::int64_t column = 0; column < problem.output.width; ++column) {
    const TapRange columns = taps_inside(column, window.stride_w, window.padding.left,
                                         window.kernel_w, problem.input.width);
    const auto [found, is_new] = known.try_emplace(columns);
    if (is_new) {
      for (std::int64_t o = 0; o < problem.output.channels; ++o) {
        const auto at = static_cast<std::size_t>(o);
        double shift = 0;
        for (std::int64_t c = 0; c < problem.input.channels; ++c) {
          const double b =
              -info.mean[static_cast<std::size_t>(c)] / info.stddev[static_cast<std::size_t>(c)];
          shift += b * weight_sum(problem, o, c, rows, columns);
        }
        found->second.push_back(static_cast<float>(shift * per_sum[at] + real.addend[at]));
      }
    }
    result.insert(result.end(), found->second.begin(), found->second.end());
  }
  return result;
}

}  // namespace

void check_quantized_weights(const Model& model, const QuantizedWeights& weights) {
  const std::vector<int> layers = model.graph.layers();
  if (layers.size() != weights.layers.size()) {
    throw std::invalid_argument("integer engine: " + model.info->name + " has " +
                                std::to_string(layers.size()) +
                                " layers, but quantized weights for " +
                                std::to_string(weights.layers.size()) + " were given");
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const Node& node = model.graph.node(layers[i]);
    const QuantizedLayer& layer = weights.layers[i];
    const std::int64_t inputs = model.graph.node(node.inputs[0]).shape.channels / node.groups;
    const std::int64_t size =
        node.shape.channels * inputs * node.window.kernel_h * node.window.kernel_w;
    if (layer.name != node.name || static_cast<std::int64_t>(layer.codes.size()) != size ||
        static_cast<std::int64_t>(layer.scale.size()) != node.shape.channels ||
        static_cast<std::int64_t>(layer.zero_point.size()) != node.shape.channels) {
      throw std::invalid_argument("integer engine: layer " + node.name + " of " + model.info->name +
                                  " got the quantized weights of " + layer.name + " (" +
                                  std::to_string(layer.codes.size()) + " codes, expected " +
                                  std::to_string(size) + ")");
    }
  }
}

std::vector<quant::ActivationAffine> layer_affines(const Model& model,
                                                   const ActivationSettings& activations) {
  const std::size_t num_layers = model.graph.layers().size();
  if (activations.bits == 0) {
    throw std::invalid_argument("integer engine: " + model.info->name +
                                " needs quantized activations, got 0 bits");
  }
  if (activations.ranges.size() != num_layers) {
    throw std::invalid_argument("integer engine: " + model.info->name + " has " +
                                std::to_string(num_layers) + " layers, but " +
                                std::to_string(activations.ranges.size()) +
                                " activation ranges were given");
  }
  std::vector<quant::ActivationAffine> affines;
  for (std::size_t i = 0; i < num_layers; ++i) {
    affines.push_back(i == 0 ? quant::ActivationAffine{}
                             : quant::activation_affine(activations.ranges[i],
                                                        activations.layer_bits(i, num_layers)));
  }
  return affines;
}

Forms share_forms(const std::vector<quant::ActivationAffine>& affines) {
  Forms forms;
  for (const quant::ActivationAffine& affine : affines) {
    const auto same =
        std::find_if(forms.affines.begin(), forms.affines.end(), [&](const auto& other) {
          return other.scale == affine.scale && other.zero_point == affine.zero_point &&
                 other.lo == affine.lo && other.hi == affine.hi;
        });
    forms.of_layer.push_back(static_cast<int>(same - forms.affines.begin()));
    if (same == forms.affines.end()) {
      forms.affines.push_back(affine);
    }
  }
  return forms;
}

std::vector<std::array<float, 256>> pixel_normalization(const ModelInfo& info) {
  std::vector<std::array<float, 256>> table(info.mean.size());
  for (std::size_t c = 0; c < table.size(); ++c) {
    for (std::size_t pixel = 0; pixel < 256; ++pixel) {
      table[c][pixel] =
          static_cast<float>((static_cast<double>(pixel) / 255.0 - info.mean[c]) / info.stddev[c]);
    }
  }
  return table;
}

ChannelAffine batch_norm_affine(const Model& model, int node) {
  const Node& norm = model.graph.node(node);
  const std::vector<float>& weight = model.weights.at(norm.name + ".weight").values;
  const std::vector<float>& bias = model.weights.at(norm.name + ".bias").values;
  const std::vector<float>& mean = model.weights.at(norm.name + ".running_mean").values;
  const std::vector<float>& variance = model.weights.at(norm.name + ".running_var").values;
  ChannelAffine affine;
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double multiplier =
        weight[c] / std::sqrt(static_cast<double>(variance[c]) + norm.epsilon);
    affine.multiplier.push_back(multiplier);
    affine.addend.push_back(bias[c] - mean[c] * multiplier);
  }
  return affine;
}

ChannelAffine real_affine(const Model& model, const Step& step) {
  const Node& node = model.graph.node(step.layer_node);
  const auto outputs = static_cast<std::size_t>(node.shape.channels);
  std::vector<double> bias(outputs, 0.0);
  if (node.bias) {
    const std::vector<float>& values = model.weights.at(node.name + ".bias").values;
    bias.assign(values.begin(), values.end());
  }
  if (step.batch_norm < 0) {
    return {std::vector<double>(outputs, 1.0), bias};
  }
  ChannelAffine affine = batch_norm_affine(model, step.batch_norm);
  for (std::size_t o = 0; o < outputs; ++o) {
    affine.addend[o] = affine.addend[o] + bias[o] * affine.multiplier[o];
  }
  return affine;
}

ChannelAffine sum_affine(const ChannelAffine& real, const std::vector<float>& weight_scale,
                         double input_scale) {
  ChannelAffine affine = real;
  for (std::size_t o = 0; o < affine.multiplier.size(); ++o) {
    affine.multiplier[o] =
        real.multiplier[o] / (static_cast<double>(weight_scale[o]) * input_scale);
  }
  return affine;
}

std::vector<float> rounded(const std::vector<double>& values) {
  return std::vector<float>(values.begin(), values.end());
}

IntConvProblem conv_problem(const Model& model, const Step& step, const QuantizedLayer& weights) {
  const Node& node = model.graph.node(step.layer_node);
  IntConvProblem problem;
  problem.name = model.info->name + ": layer " + node.name;
  problem.input = model.graph.node(node.inputs[0]).shape;
  problem.output = node.shape;
  problem.window = node.window;  // of a linear layer: 1 x 1
  problem.groups = node.groups;
  problem.codes = weights.codes;
  problem.zero_point = weights.zero_point;
  return problem;
}

PixelConstants pixel_constants(const IntConvProblem& problem, const ModelInfo& info,
                               const ChannelAffine& real, const std::vector<float>& weight_scale) {
  PixelConstants constants;
  const auto outputs = static_cast<std::size_t>(problem.output.channels);
  std::vector<double> per_sum(outputs);  // multiplier_o / scale_o
  for (std::size_t o = 0; o < outputs; ++o) {
    per_sum[o] = real.multiplier[o] / static_cast<double>(weight_scale[o]);
  }
  for (const double stddev : info.stddev) {
    for (std::size_t o = 0; o < outputs; ++o) {
      constants.factors.push_back(static_cast<float>(per_sum[o] / (255.0 * stddev)));
    }
  }
  const Window& window = problem.window;
  std::map<TapRange, std::size_t> known;
  for (std::int64_t row = 0; row < problem.output.height; ++row) {
    const TapRange rows = taps_inside(row, window.stride_h, window.padding.top, window.kernel_h,
                                      problem.input.height);
    const auto [found, is_new] = known.try_emplace(rows, constants.shifts.size());
    constants.shift_of_row.push_back(found->second);
    if (is_new) {
      constants.shifts.push_back(shift_row(problem, info, real, per_sum, rows));
    }
  }
  return constants;
}

}  // namespace squant::eval
