#include "eval/engine/integer_engine_layer.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "eval/engine/int_conv_padded.h"

namespace squant::eval {
namespace {

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

// What follows the layer's real-valued sums: y = sum * multiplier + addend; bias and batch norm, in
// double.
//   with batch norm g = weight / sqrt(variance + epsilon): multiplier = g, addend = (norm_bias -
//   mean * g) + bias * g without: multiplier = 1, addend = bias
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

Epilogue make_epilogue(const Step& step, const ChannelAffine& real,
                       const std::vector<float>& weight_scale, double input_scale) {
  Epilogue epilogue;
  std::vector<double> multiplier(real.multiplier.size());
  for (std::size_t o = 0; o < multiplier.size(); ++o) {
    multiplier[o] = real.multiplier[o] / (static_cast<double>(weight_scale[o]) * input_scale);
  }
  epilogue.multiplier = ChannelValues(rounded(multiplier));
  epilogue.addend = ChannelValues(rounded(real.addend));
  epilogue.before_add = step.before_add;
  epilogue.after_add = step.after_add;
  return epilogue;
}

// Runs the epilogue over positions [first, first + count) of an image, v starting at `first`.
void finish(const Epilogue& epilogue, const float* v, std::int64_t first, std::int64_t count,
            const float* residual, const LayerOutputs& outputs, Scratch& scratch) {
  const std::int64_t channels = epilogue.multiplier.channels();
  const std::int64_t offset = first * channels;
  EpilogueOutputs to;
  to.values = outputs.values == nullptr ? nullptr : outputs.values + offset;
  if (outputs.codes.size() > 1 && to.values == nullptr) {
    to.values = scratch.get<float>(ScratchUse::kEpilogue, count * channels);
  }
  if (!outputs.codes.empty()) {
    to.codes = outputs.codes.front() + offset;
    to.quantizer = outputs.quantizers.front();
  }
  run_epilogue(epilogue, v, residual == nullptr ? nullptr : residual + offset, count, to);
  for (std::size_t i = 1; i < outputs.codes.size(); ++i) {
    quantize_values(*outputs.quantizers[i], to.values, count * channels, outputs.codes[i] + offset);
  }
}

class CodeLayer final : public IntegerLayer {
 public:
  CodeLayer(std::unique_ptr<IntConv> conv, Epilogue epilogue, std::int64_t width)
      : conv_(std::move(conv)), epilogue_(std::move(epilogue)), width_(width) {}

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    for (const Strip& strip : conv_->strips()) {
      auto* v = scratch.get<float>(ScratchUse::kValues,
                                   strip.count * width_ * epilogue_.multiplier.channels());
      conv_->run(input, strip, scratch, v);
      finish(epilogue_, v, strip.first * width_, strip.count * width_, residual, outputs, scratch);
    }
  }
  const char* kernel() const override { return sum_kernel_name(conv_->kernel()); }
  double sum_bound() const override { return conv_->bound(); }
  std::int64_t memory_bytes() const override { return conv_->memory_bytes(); }

 private:
  std::unique_ptr<IntConv> conv_;
  Epilogue epilogue_;
  std::int64_t width_;  // of the output
};

class FloatInputLayer final : public IntegerLayer {
 public:
  FloatInputLayer(const IntConvProblem& problem, Epilogue epilogue)
      : conv_(problem),
        epilogue_(std::move(epilogue)),
        positions_(problem.output.height * problem.output.width) {}

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    auto* v = scratch.get<float>(ScratchUse::kValues, positions_ * epilogue_.multiplier.channels());
    conv_.run(static_cast<const float*>(input), scratch, v);
    finish(epilogue_, v, 0, positions_, residual, outputs, scratch);
  }
  const char* kernel() const override { return "float64"; }
  double sum_bound() const override { return 0; }
  std::int64_t memory_bytes() const override { return 0; }

 private:
  FloatInputConv conv_;
  Epilogue epilogue_;
  std::int64_t positions_;
};

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

// A pixel p of channel c stands for x = p * a_c + b_c with a_c = 1 / (255 stddev_c), b_c = -mean_c
// / stddev_c. With v_c the integer sum of channel c, the layer's output is sum_c v_c * (a_c
// multiplier_o / scale_o) + shift, where shift_o = (sum_c b_c * sum over the taps inside the image
// of W_c) * multiplier_o / scale_o + addend_o depends on the position only through the taps that
// padding hides.
class PixelLayer final : public IntegerLayer {
 public:
  PixelLayer(const IntConvProblem& problem, const ModelInfo& info, const ChannelAffine& real,
             const std::vector<float>& weight_scale, Epilogue epilogue,
             std::optional<SumKernel> kernel)
      : conv_(problem, kernel), epilogue_(std::move(epilogue)), output_(problem.output) {
    epilogue_.has_affine = false;
    const auto outputs = static_cast<std::size_t>(problem.output.channels);
    std::vector<double> per_sum(outputs);  // multiplier_o / scale_o
    for (std::size_t o = 0; o < outputs; ++o) {
      per_sum[o] = real.multiplier[o] / static_cast<double>(weight_scale[o]);
    }
    for (const double stddev : info.stddev) {
      for (std::size_t o = 0; o < outputs; ++o) {
        factors_.push_back(static_cast<float>(per_sum[o] / (255.0 * stddev)));
      }
    }
    make_shifts(problem, info, real, per_sum);
  }

  void run(const void* input, const float* residual, const LayerOutputs& outputs,
           Scratch& scratch) const override {
    conv_.load(static_cast<const std::uint8_t*>(input), scratch);
    const std::int64_t channels = static_cast<std::int64_t>(factors_.size()) / output_.channels;
    for (const Strip& strip : conv_.strips()) {
      const std::int64_t row_values = output_.width * output_.channels;
      auto* v = scratch.get<float>(ScratchUse::kValues, strip.count * row_values * channels);
      conv_.run(strip, scratch, v);
      auto* y = scratch.get<float>(ScratchUse::kCombined, strip.count * row_values);
      for (std::int64_t row = 0; row < strip.count; ++row) {
        const std::vector<float>& shift =
            shifts_[shift_of_row_[static_cast<std::size_t>(strip.first + row)]];
        combine_channels(v + row * row_values * channels, factors_.data(), shift.data(),
                         output_.width, channels, output_.channels, y + row * row_values);
      }
      finish(epilogue_, y, strip.first * output_.width, strip.count * output_.width, residual,
             outputs, scratch);
    }
  }
  const char* kernel() const override { return sum_kernel_name(conv_.kernel()); }
  double sum_bound() const override { return conv_.bound(); }
  std::int64_t memory_bytes() const override { return conv_.memory_bytes(); }

 private:
  void make_shifts(const IntConvProblem& problem, const ModelInfo& info, const ChannelAffine& real,
                   const std::vector<double>& per_sum) {
    const Window& window = problem.window;
    std::map<TapRange, std::size_t> known;
    for (std::int64_t row = 0; row < output_.height; ++row) {
      const TapRange rows = taps_inside(row, window.stride_h, window.padding.top, window.kernel_h,
                                        problem.input.height);
      const auto [found, is_new] = known.try_emplace(rows, shifts_.size());
      shift_of_row_.push_back(found->second);
      if (is_new) {
        shifts_.push_back(shift_row(problem, info, real, per_sum, rows));
      }
    }
  }

  // [OW, O] of an output row whose windows see the tap rows `rows`.
  std::vector<float> shift_row(const IntConvProblem& problem, const ModelInfo& info,
                               const ChannelAffine& real, const std::vector<double>& per_sum,
                               TapRange rows) const {
    const Window& window = problem.window;
    std::map<TapRange, std::vector<float>> known;
    std::vector<float> result;
    for (std::int64_t column = 0; column < output_.width; ++column) {
      const TapRange columns = taps_inside(column, window.stride_w, window.padding.left,
                                           window.kernel_w, problem.input.width);
      const auto [found, is_new] = known.try_emplace(columns);
      if (is_new) {
        for (std::int64_t o = 0; o < output_.channels; ++o) {
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

  // An integer below 2^53: exact.
  static double weight_sum(const IntConvProblem& problem, std::int64_t o, std::int64_t c,
                           TapRange rows, TapRange columns) {
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

  PixelConv conv_;
  Epilogue epilogue_;
  Shape output_;
  std::vector<float> factors_;              // [C, O]
  std::vector<std::vector<float>> shifts_;  // [OW, O] for each kind of row
  std::vector<std::size_t> shift_of_row_;
};

}  // namespace

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

std::unique_ptr<IntegerLayer> make_code_layer(const Model& model, const Step& step,
                                              const QuantizedLayer& weights,
                                              const quant::ActivationAffine& affine,
                                              std::optional<SumKernel> kernel) {
  IntConvProblem problem = conv_problem(model, step, weights);
  problem.format = code_format(affine);
  return std::make_unique<CodeLayer>(
      make_int_conv(problem, kernel),
      make_epilogue(step, real_affine(model, step), weights.scale, affine.scale),
      problem.output.width);
}

std::unique_ptr<IntegerLayer> make_float_input_layer(const Model& model, const Step& step,
                                                     const QuantizedLayer& weights) {
  return std::make_unique<FloatInputLayer>(
      conv_problem(model, step, weights),
      make_epilogue(step, real_affine(model, step), weights.scale, 1.0));
}

std::unique_ptr<IntegerLayer> make_pixel_layer(const Model& model, const Step& step,
                                               const QuantizedLayer& weights,
                                               std::optional<SumKernel> kernel) {
  const IntConvProblem problem = conv_problem(model, step, weights);
  if (problem.groups != 1) {
    return nullptr;
  }
  const ChannelAffine real = real_affine(model, step);
  return std::make_unique<PixelLayer>(problem, *model.info, real, weights.scale,
                                      make_epilogue(step, real, weights.scale, 1.0), kernel);
}

}  // namespace squant::eval
