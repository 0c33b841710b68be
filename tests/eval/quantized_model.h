// Quantized networks for tests, and the published formula to hold the integer engine's layers
// against.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "eval/engine/integer_engine.h"
#include "eval/engine/node_kernels.h"

namespace squant::eval {

inline constexpr quant::Rounding kRounding = quant::Rounding::kCurrent;

inline double sigma_of(int bits) { return bits < 6 ? 12 : bits < 8 ? 14 : 25; }

inline std::vector<std::uint8_t> some_pixels(const Shape& shape, std::int64_t n) {
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(n * shape.size()));
  std::mt19937 random(11);
  for (std::uint8_t& pixel : pixels) {
    pixel = static_cast<std::uint8_t>(random() % 256);
  }
  return pixels;
}

// A network with generated weights, quantized and calibrated on two images of noise.
struct QuantizedModel {
  QuantizedModel(const ModelInfo& info, int bits) : model{&info, info.build(), {}}, weights{} {
    model.weights = generated_state_dict(model.graph);
    prepare(bits);
  }
  QuantizedModel(const ModelInfo& info, Graph graph, int bits)
      : model{&info, std::move(graph), {}}, weights{} {
    model.weights = generated_state_dict(model.graph);
    prepare(bits);
  }
  void prepare(int bits) {
    weights = quantize_weights(model, {.bits = bits});
    activations.bits = bits;
    activations.ranges = calibrate(model, weights, bits, kRounding, sigma_of(bits), 2);
  }
  std::vector<float> run_pixels(Engine& engine, const std::vector<std::uint8_t>& pixels,
                                std::int64_t batch) const {
    const std::int64_t n = static_cast<std::int64_t>(pixels.size()) / model.info->input.size();
    std::vector<float> logits(static_cast<std::size_t>(n * model.info->num_classes));
    for (std::int64_t begin = 0; begin < n; begin += batch) {
      engine.run_pixels(pixels.data() + begin * model.info->input.size(),
                        std::min(batch, n - begin),
                        logits.data() + begin * model.info->num_classes);
    }
    return logits;
  }
  std::vector<float> run_input(Engine& engine, const std::vector<float>& input) const {
    const std::int64_t n = static_cast<std::int64_t>(input.size()) / model.info->input.size();
    std::vector<float> logits(static_cast<std::size_t>(n * model.info->num_classes));
    engine.run_input(input.data(), n, logits.data());
    return logits;
  }

  Model model;
  QuantizedWeights weights;
  ActivationSettings activations;
};

// Runs a network step by step and compares sampled outputs of each layer with the published formula
// in double: dequantized weights and inputs, convolution, bias, batch norm, ReLU, addition.
class LayerFormula {
 public:
  explicit LayerFormula(const QuantizedModel& quantized)
      : quantized_(quantized),
        model_(quantized.model),
        affines_(layer_affines(model_, quantized.activations)) {
    std::vector<int> forms(affines_.size());
    for (std::size_t i = 0; i < forms.size(); ++i) {
      forms[i] = static_cast<int>(i);
    }
    network_ = std::make_unique<IntegerNetwork>(model_, quantized.weights,
                                                make_plan(model_.graph, forms, false), forms.size(),
                                                IntegerOptions{});
    for (std::size_t i = 0; i < forms.size(); ++i) {
      network_->set_affine(forms[i], affines_[i]);
    }
    for (const PlanValue& value : network_->plan().values) {
      buffers_.emplace_back(static_cast<std::size_t>(value.size_bytes));
      values_.push_back(buffers_.back().data());
    }
  }

  void check(const std::vector<float>& input) {
    const Plan& plan = network_->plan();
    to_channels_last(input.data(), model_.info->input, value<float>(plan.input));
    for (std::size_t s = 0; s < plan.steps.size(); ++s) {
      network_->prepare_step(s, model_, quantized_.weights, false);
      network_->run_step(s, nullptr, values_, scratch_);
      if (plan.steps[s].kind == StepKind::kLayer) {
        SCOPED_TRACE(model_.graph.node(plan.steps[s].layer_node).name);
        check_layer(plan.steps[s]);
      }
      network_->release_step(s);
    }
  }

  std::int64_t num_checked = 0;

 private:
  template <typename T>
  T* value(int index) const {
    return reinterpret_cast<T*>(values_[static_cast<std::size_t>(index)]);
  }

  void check_layer(const Step& step) {
    const Shape& shape = model_.graph.node(step.node).shape;
    for (int sample = 0; sample < 40; ++sample) {
      const std::int64_t y = draw(shape.height);
      const std::int64_t x = draw(shape.width);
      const std::int64_t o = draw(shape.channels);
      const std::int64_t at = (y * shape.width + x) * shape.channels + o;
      const double expected = formula(step, y, x, o, at);
      const double slack = 1e-5 * magnitude_;
      if (step.values >= 0) {
        ASSERT_NEAR(value<float>(step.values)[at], expected, slack);
      }
      for (const int codes : step.codes) {
        const auto form =
            static_cast<std::size_t>(network_->plan().values[static_cast<std::size_t>(codes)].form);
        check_code(codes, form, at, expected, slack);
      }
      ++num_checked;
    }
  }

  // The code next to the quantized formula: off by at most half a step, and the float32 slack.
  void check_code(int codes, std::size_t form, std::int64_t at, double expected, double slack) {
    const quant::ActivationAffine& affine = affines_[form];
    const CodeFormat format = code_format(affine);
    const int stored =
        format.is_signed ? value<std::int8_t>(codes)[at] : value<std::uint8_t>(codes)[at];
    const double exact =
        std::clamp(static_cast<double>(affine.scale) * expected - affine.zero_point,
                   static_cast<double>(affine.lo), static_cast<double>(affine.hi));
    ASSERT_NEAR(stored - format.shift, exact, 0.5 + slack * affine.scale + 1e-4);
  }

  double input_at(const Step& step, std::int64_t at) const {
    if (step.layer == 0) {
      return value<float>(step.inputs[0])[at];
    }
    const quant::ActivationAffine& affine = affines_[static_cast<std::size_t>(step.layer)];
    const CodeFormat format = code_format(affine);
    const int stored = format.is_signed ? value<std::int8_t>(step.inputs[0])[at]
                                        : value<std::uint8_t>(step.inputs[0])[at];
    return (static_cast<double>(stored - format.shift) + affine.zero_point) / affine.scale;
  }

  double convolution(const Step& step, std::int64_t out_y, std::int64_t out_x, std::int64_t o) {
    const Node& node = model_.graph.node(step.layer_node);
    const Shape& in = model_.graph.node(node.inputs[0]).shape;
    const QuantizedLayer& layer = quantized_.weights.layers[static_cast<std::size_t>(step.layer)];
    const Window& window = node.window;
    const std::int64_t channels = in.channels / node.groups;
    const std::int64_t first = o / (node.shape.channels / node.groups) * channels;
    double sum = 0;
    magnitude_ = 0;
    for (std::int64_t i = 0; i < channels; ++i) {
      for (std::int64_t ky = 0; ky < window.kernel_h; ++ky) {
        for (std::int64_t kx = 0; kx < window.kernel_w; ++kx) {
          const std::int64_t y = out_y * window.stride_h - window.padding.top + ky;
          const std::int64_t x = out_x * window.stride_w - window.padding.left + kx;
          if (y < 0 || y >= in.height || x < 0 || x >= in.width) {
            continue;
          }
          const auto w = static_cast<std::size_t>(
              ((o * channels + i) * window.kernel_h + ky) * window.kernel_w + kx);
          const double weight = (static_cast<double>(layer.codes[w]) +
                                 layer.zero_point[static_cast<std::size_t>(o)]) /
                                layer.scale[static_cast<std::size_t>(o)];
          sum += weight * input_at(step, (y * in.width + x) * in.channels + first + i);
        }
      }
    }
    magnitude_ = std::abs(sum) + 1;
    return sum;
  }

  float parameter(const std::string& name, std::int64_t o) const {
    return model_.weights.at(name).values[static_cast<std::size_t>(o)];
  }

  // Follows the graph, not the plan, from the layer to the step's result.
  double formula(const Step& step, std::int64_t y, std::int64_t x, std::int64_t o,
                 std::int64_t at) {
    const std::vector<std::vector<int>> consumers = model_.graph.consumers();
    const Node& layer = model_.graph.node(step.layer_node);
    double v = convolution(step, y, x, o);
    v += layer.bias ? parameter(layer.name + ".bias", o) : 0.0F;
    for (int node = step.layer_node; node != step.node;) {
      node = consumers[static_cast<std::size_t>(node)].at(0);
      const Node& next = model_.graph.node(node);
      if (next.op == Op::kBatchNorm) {
        const double factor = parameter(next.name + ".weight", o) /
                              std::sqrt(parameter(next.name + ".running_var", o) + next.epsilon);
        v = (v - parameter(next.name + ".running_mean", o)) * factor +
            parameter(next.name + ".bias", o);
        magnitude_ = (magnitude_ + 1) * (std::abs(factor) + 1);
      } else if (next.op == Op::kRelu) {
        v = std::max(v, 0.0);
      } else if (next.op == Op::kRelu6) {
        v = std::clamp(v, 0.0, 6.0);
      } else if (next.op == Op::kAdd) {
        v += value<float>(step.inputs.at(1))[at];
        magnitude_ += std::abs(value<float>(step.inputs.at(1))[at]);
      } else {
        ADD_FAILURE() << "a layer's step with an operation of another kind";
      }
    }
    return v;
  }

  std::int64_t draw(std::int64_t count) {
    return static_cast<std::int64_t>(random_() % static_cast<unsigned>(count));
  }

  const QuantizedModel& quantized_;
  const Model& model_;
  std::vector<quant::ActivationAffine> affines_;
  std::unique_ptr<IntegerNetwork> network_;
  std::vector<AlignedBuffer> buffers_;
  IntegerNetwork::Values values_;
  Scratch scratch_;
  std::mt19937 random_{17};
  double magnitude_ = 0;
};

}  // namespace squant::eval
