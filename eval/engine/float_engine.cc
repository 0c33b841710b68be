// The float engine: a graph compiled to a list of steps over slots, each step a LibTorch operator.
//
// Float activations: batch norm is folded into the convolution before it (in double), ReLU is
// applied in place. Quantized activations: as published, batch norm stays a step of its own, and
// every layer's input but the first is quantized and dequantized in float32.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "eval/engine/engine.h"
#include "eval/engine/torch_cuda.h"
#include "eval/engine/torch_ops.h"

namespace squant::eval {
namespace {

enum class StepKind : std::uint8_t { kLayer, kBatchNorm, kFunction, kFakeQuantize };

struct Step {
  StepKind kind = StepKind::kFunction;
  Node node;
  std::vector<int> inputs;  // slots
  int output = 0;           // slot
  at::Tensor weight, bias;  // kLayer; kBatchNorm
  at::Tensor mean, variance;
  quant::ActivationAffine affine;  // kFakeQuantize
  bool in_place = false;           // its first input is read by no other step
  std::vector<int> last_uses;      // slots that no later step reads
};

// dequantize(quantize(x)) of a whole tensor, in float32. Every intermediate is rounded on its own.
void fake_quantize(const float* input, float* output, std::int64_t size,
                   const quant::ActivationAffine& affine) {
  // Adding and subtracting 1.5 * 2^23 rounds to an integer, halves to even, what is clamped to 8
  // bits before.
  constexpr float kRound = 12582912.0F;
  const float lo = static_cast<float>(affine.lo);
  const float hi = static_cast<float>(affine.hi);
  for (std::int64_t i = 0; i < size; ++i) {
    const float x = affine.scale * input[i] - affine.zero_point;
    const float code = (std::min(std::max(x, lo), hi) + kRound) - kRound;
    output[i] = (code + affine.zero_point) / affine.scale;
  }
}

at::Tensor fake_quantize_on_gpu(const at::Tensor& input, const quant::ActivationAffine& affine) {
  return input.mul(affine.scale)
      .sub_(affine.zero_point)
      .clamp_(affine.lo, affine.hi)
      .round_()
      .add_(affine.zero_point)
      .div_(affine.scale);
}

at::Tensor fake_quantize(at::Tensor input, const quant::ActivationAffine& affine, bool in_place) {
  if (input.is_cuda()) return fake_quantize_on_gpu(input, affine);
  if (!input.is_non_overlapping_and_dense()) {
    input = input.contiguous();
  }
  at::Tensor output = in_place ? input : at::empty_like(input);
  const float* from = input.const_data_ptr<float>();
  float* to = output.mutable_data_ptr<float>();
  constexpr std::int64_t kGrain = 16384;
  at::parallel_for(0, input.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    fake_quantize(from + begin, to + begin, end - begin, affine);
  });
  return output;
}

at::Tensor run_step(const Step& step, std::vector<at::Tensor>& slots) {
  std::vector<at::Tensor> inputs;
  inputs.reserve(step.inputs.size());
  for (const int slot : step.inputs) {
    inputs.push_back(slots[static_cast<std::size_t>(slot)]);
  }
  switch (step.kind) {
    case StepKind::kLayer:
      return apply_layer(step.node, inputs[0], step.weight, step.bias);
    case StepKind::kBatchNorm:
      return at::batch_norm(inputs[0], step.weight, step.bias, step.mean, step.variance,
                            /*training=*/false, 0, step.node.epsilon, /*cudnn_enabled=*/false);
    case StepKind::kFakeQuantize:
      return fake_quantize(inputs[0], step.affine, step.in_place);
    case StepKind::kFunction:
      break;
  }
  if (step.in_place && step.node.op == Op::kRelu) {
    return at::relu_(inputs[0]);
  }
  if (step.in_place && step.node.op == Op::kRelu6) {
    return at::relu6_(inputs[0]);
  }
  if (step.in_place && step.node.op == Op::kAdd) {
    return inputs[0].add_(inputs[1]);
  }
  return apply_function(step.node, inputs);
}

// What a batch norm does to each channel: x * factor + offset.
struct ChannelAffine {
  at::Tensor factor, offset;  // double, [C]
};

ChannelAffine channel_affine(const StateDict& weights, const Node& norm) {
  const auto entry = [&](const char* name) {
    return to_tensor(weights.at(norm.name + name)).to(at::kDouble);
  };
  const at::Tensor factor = entry(".weight") / at::sqrt(entry(".running_var") + norm.epsilon);
  return {factor, entry(".bias") - entry(".running_mean") * factor};
}

// Turns a graph into steps.
class Compiler {
 public:
  Compiler(const Model& model, const QuantizedWeights* weights,
           const ActivationSettings& activations)
      : model_(model), weights_(weights), activations_(activations), layers_(model.graph.layers()) {
    check_arguments();
    const std::vector<Node>& nodes = model.graph.nodes();
    consumers_ = model.graph.consumers();
    slot_of_node_.assign(nodes.size(), -1);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (slot_of_node_[i] < 0) {
        compile(static_cast<int>(i));
      }
    }
    mark_last_uses();
  }

  std::vector<Step> steps;
  int num_slots = 0;

 private:
  bool quantizes_activations() const { return activations_.bits > 0; }

  void check_arguments() const {
    if (weights_ != nullptr && weights_->layers.size() != layers_.size()) {
      throw std::invalid_argument(
          "make_float_engine: quantized weights of " + std::to_string(weights_->layers.size()) +
          " layers for " + model_.info->name + ", which has " + std::to_string(layers_.size()));
    }
    if (quantizes_activations() && activations_.ranges.size() != layers_.size()) {
      throw std::invalid_argument(
          "make_float_engine: " + std::to_string(activations_.ranges.size()) +
          " activation ranges for " + model_.info->name + ", which has " +
          std::to_string(layers_.size()) + " layers");
    }
  }

  int slot_of(int node) const { return slot_of_node_[static_cast<std::size_t>(node)]; }

  Step& append(StepKind kind, const Node& node) {
    Step step;
    step.kind = kind;
    step.node = node;
    step.output = num_slots++;
    for (const int input : node.inputs) {
      step.inputs.push_back(slot_of(input));
    }
    steps.push_back(std::move(step));
    return steps.back();
  }

  void compile(int index) {
    const Node& node = model_.graph.node(index);
    int& slot = slot_of_node_[static_cast<std::size_t>(index)];
    if (node.op == Op::kInput) {
      slot = num_slots++;
    } else if (node.is_layer()) {
      compile_layer(index);
    } else if (node.op == Op::kBatchNorm) {
      slot = append_batch_norm(node);
    } else if (node.op == Op::kChannelShuffle && node.groups == 1) {
      slot = slot_of(node.inputs[0]);
    } else {
      slot = append(StepKind::kFunction, node).output;
    }
  }

  void compile_layer(int index) {
    const Node& node = model_.graph.node(index);
    const std::size_t layer = next_layer_++;
    const int input = layer_input(layer, slot_of(node.inputs[0]));
    Step& step = append(StepKind::kLayer, node);
    step.inputs = {input};
    step.weight = layer_weight(layer, node);
    if (node.bias) {
      step.bias = to_tensor(model_.weights.at(node.name + ".bias"));
    }
    slot_of_node_[static_cast<std::size_t>(index)] = step.output;
    const std::vector<int>& readers = consumers_[static_cast<std::size_t>(index)];
    if (node.op == Op::kConv && !quantizes_activations() && readers.size() == 1 &&
        model_.graph.node(readers[0]).op == Op::kBatchNorm) {
      fold(channel_affine(model_.weights, model_.graph.node(readers[0])), step);
      slot_of_node_[static_cast<std::size_t>(readers[0])] = step.output;
    }
    if (node.op == Op::kConv) {
      step.weight = step.weight.contiguous(at::MemoryFormat::ChannelsLast);
    }
  }

  // The slot that the layer reads: its input, or that input fake-quantized; layers that read one
  // tensor share the work.
  int layer_input(std::size_t layer, int slot) {
    if (!quantizes_activations() || layer == 0) {
      return slot;
    }
    const quant::ActivationAffine affine = quant::activation_affine(
        activations_.ranges[layer], activations_.layer_bits(layer, layers_.size()));
    const auto key = std::make_tuple(slot, affine.scale, affine.zero_point, affine.lo, affine.hi);
    const auto [found, is_new] = quantized_slots_.try_emplace(key, num_slots);
    if (is_new) {
      Step& step = append(StepKind::kFakeQuantize, Node());
      step.inputs = {slot};
      step.affine = affine;
    }
    return found->second;
  }

  at::Tensor layer_weight(std::size_t layer, const Node& node) const {
    const std::string name = node.name + ".weight";
    at::Tensor weight = to_tensor(model_.weights.at(name));
    if (weights_ != nullptr) {
      const QuantizedLayer& quantized = weights_->layers[layer];
      if (quantized.name != node.name ||
          static_cast<std::int64_t>(quantized.codes.size()) != weight.numel()) {
        throw std::invalid_argument("make_float_engine: the quantized layer " + quantized.name +
                                    " stands where " + node.name + " is expected");
      }
      std::vector<std::int64_t> per_channel(static_cast<std::size_t>(weight.dim()), 1);
      per_channel[0] = quantized.shape.out;
      const at::Tensor scale = to_tensor({per_channel, quantized.scale});
      const at::Tensor zero_point = to_tensor({per_channel, quantized.zero_point});
      const at::Tensor codes = at::from_blob(const_cast<std::int8_t*>(quantized.codes.data()),
                                             weight.sizes(), at::kChar);
      weight = (codes.to(at::kFloat) + zero_point) / scale;
    }
    return weight;
  }

  static void fold(const ChannelAffine& affine, Step& layer) {
    layer.weight =
        (layer.weight.to(at::kDouble) * affine.factor.view({-1, 1, 1, 1})).to(at::kFloat);
    const at::Tensor bias =
        layer.bias.defined() ? layer.bias.to(at::kDouble) * affine.factor : at::Tensor();
    layer.bias = (bias.defined() ? bias + affine.offset : affine.offset).to(at::kFloat);
  }

  int append_batch_norm(const Node& node) {
    Step& step = append(StepKind::kBatchNorm, node);
    const auto entry = [&](const char* name) {
      return to_tensor(model_.weights.at(node.name + name));
    };
    step.weight = entry(".weight");
    step.bias = entry(".bias");
    step.mean = entry(".running_mean");
    step.variance = entry(".running_var");
    return step.output;
  }

  void mark_last_uses() {
    std::vector<int> num_uses(static_cast<std::size_t>(num_slots), 0);
    std::vector<std::size_t> last_use(static_cast<std::size_t>(num_slots), 0);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      for (const int slot : steps[i].inputs) {
        ++num_uses[static_cast<std::size_t>(slot)];
        last_use[static_cast<std::size_t>(slot)] = i;
      }
    }
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const int first = steps[i].inputs[0];
      steps[i].in_place = first != kInputSlot && num_uses[static_cast<std::size_t>(first)] == 1;
    }
    for (int slot = 0; slot < num_slots; ++slot) {
      if (num_uses[static_cast<std::size_t>(slot)] > 0) {
        steps[last_use[static_cast<std::size_t>(slot)]].last_uses.push_back(slot);
      }
    }
  }

  static constexpr int kInputSlot = 0;  // the caller's memory

  const Model& model_;
  const QuantizedWeights* weights_;
  const ActivationSettings& activations_;
  std::vector<int> layers_;
  std::vector<std::vector<int>> consumers_;
  std::vector<int> slot_of_node_;
  std::size_t next_layer_ = 0;
  std::map<std::tuple<int, float, float, std::int32_t, std::int32_t>, int> quantized_slots_;
};

class FloatEngine : public Engine {
 public:
  FloatEngine(const Model& model, const QuantizedWeights* weights,
              const ActivationSettings& activations, const at::Device& device)
      : info_(*model.info), device_(device), is_simulated_(activations.bits > 0) {
    const c10::InferenceMode guard;
    Compiler compiler(model, weights, activations);
    steps_ = std::move(compiler.steps);
    num_slots_ = compiler.num_slots;
    const std::vector<std::int64_t> per_channel = {1, info_.input.channels, 1, 1};
    mean_ = at::tensor(info_.mean, at::kFloat).view(per_channel).to(device_);
    stddev_ = at::tensor(info_.stddev, at::kFloat).view(per_channel).to(device_);
    for (Step& step : steps_) {
      for (at::Tensor* const tensor : {&step.weight, &step.bias, &step.mean, &step.variance}) {
        if (tensor->defined()) *tensor = tensor->to(device_);
      }
    }
  }

  void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) override {
    const c10::InferenceMode guard;
    const Shape& shape = info_.input;
    const at::Tensor images =
        at::from_blob(const_cast<std::uint8_t*>(pixels),
                      {n, shape.height, shape.width, shape.channels}, at::kByte)
            .to(device_);
    // NHWC bytes seen as NCHW are channels-last already.
    run(images.permute({0, 3, 1, 2}).to(at::kFloat).div_(255).sub_(mean_).div_(stddev_), logits);
  }

  void run_input(const float* input, std::int64_t n, float* logits) override {
    const c10::InferenceMode guard;
    const Shape& shape = info_.input;
    run(at::from_blob(const_cast<float*>(input), {n, shape.channels, shape.height, shape.width},
                      at::kFloat)
            .to(device_),
        logits);
  }

  ~FloatEngine() override {
    if (!device_.is_cuda()) return;
    steps_.clear();
    release_torch_cuda_memory();
  }

  std::string name() const override { return is_simulated_ ? "simulated" : "float"; }
  bool exact() const override { return false; }

 private:
  void run(const at::Tensor& input, float* logits) {
    if (input.size(0) == 0) {
      return;
    }
    if (device_.is_cuda()) {
      at::globalContext().setAllowTF32CuDNN(false);
      at::globalContext().setAllowTF32CuBLAS(false);
    }
    std::vector<at::Tensor> slots(static_cast<std::size_t>(num_slots_));
    slots[0] = input.contiguous(at::MemoryFormat::ChannelsLast);
    for (const Step& step : steps_) {
      at::Tensor output = run_step(step, slots);
      for (const int slot : step.last_uses) {
        slots[static_cast<std::size_t>(slot)].reset();
      }
      slots[static_cast<std::size_t>(step.output)] = std::move(output);
    }
    const at::Tensor& result = slots[static_cast<std::size_t>(steps_.back().output)];
    at::from_blob(logits, {input.size(0), info_.num_classes}, at::kFloat).copy_(result.flatten(1));
  }

  const ModelInfo& info_;
  const at::Device device_;
  bool is_simulated_;
  std::vector<Step> steps_;
  int num_slots_ = 0;
  at::Tensor mean_, stddev_;
};

int num_allowed_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) {
    return CPU_COUNT(&cores);
  }
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

}  // namespace

std::unique_ptr<Engine> make_float_engine(const Model& model, const QuantizedWeights* weights,
                                          const ActivationSettings& activations) {
  return std::make_unique<FloatEngine>(model, weights, activations, at::kCPU);
}

std::unique_ptr<Engine> make_cuda_float_engine(const Model& model, const QuantizedWeights* weights,
                                               const ActivationSettings& activations) {
  return std::make_unique<FloatEngine>(model, weights, activations, at::kCUDA);
}

void set_engine_threads(int num_threads) {
  at::set_num_threads(num_threads > 0 ? num_threads : num_allowed_cores());
}

}  // namespace squant::eval
