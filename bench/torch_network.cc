#include "bench/torch_network.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "eval/engine/torch_ops.h"

namespace squant::bench {
namespace {

using eval::Node;
using eval::Op;

struct Step {
  Node node;
  at::Tensor weight, bias;  // of a layer
  bool skipped = false;     // a batch norm that its convolution took over
};

// The batch norm that alone reads a convolution; -1: there is none.
int norm_behind(const eval::Graph& graph, const std::vector<int>& readers, const Node& node) {
  const bool alone = node.op == Op::kConv && readers.size() == 1;
  return alone && graph.node(readers[0]).op == Op::kBatchNorm ? readers[0] : -1;
}

class TorchEngine final : public eval::Engine {
 public:
  TorchEngine(const eval::Model& model, const std::string& device, TorchPrecision precision)
      : info_(*model.info), device_(device), precision_(precision) {
    const c10::InferenceMode guard;
    const std::vector<std::vector<int>> consumers = model.graph.consumers();
    for (const Node& node : model.graph.nodes()) steps_.push_back({node, {}, {}, false});
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!steps_[i].node.is_layer()) continue;
      load(model, steps_[i], norm_behind(model.graph, consumers[i], steps_[i].node));
    }
    for (const Step& step : steps_) {
      if (step.node.op == Op::kBatchNorm && !step.skipped) {
        throw std::invalid_argument(info_.name + ": a batch norm that follows no convolution");
      }
    }
    const std::vector<std::int64_t> per_channel = {1, info_.input.channels, 1, 1};
    mean_ = at::tensor(info_.mean, at::kFloat).view(per_channel).to(device_);
    stddev_ = at::tensor(info_.stddev, at::kFloat).view(per_channel).to(device_);
  }

  void run_pixels(const std::uint8_t* pixels, std::int64_t n, float* logits) override {
    const c10::InferenceMode guard;
    const at::Tensor images =
        at::from_blob(const_cast<std::uint8_t*>(pixels),
                      {n, info_.input.height, info_.input.width, info_.input.channels}, at::kByte)
            .to(device_);
    // NHWC bytes seen as NCHW are channels-last already.
    run(images.permute({0, 3, 1, 2}).to(at::kFloat).div_(255).sub_(mean_).div_(stddev_), logits);
  }
  void run_input(const float* input, std::int64_t n, float* logits) override {
    const c10::InferenceMode guard;
    run(at::from_blob(const_cast<float*>(input),
                      {n, info_.input.channels, info_.input.height, info_.input.width}, at::kFloat)
            .to(device_),
        logits);
  }
  std::string name() const override { return "float"; }
  bool exact() const override { return false; }

 private:
  at::ScalarType type() const {
    return precision_ == TorchPrecision::kFloat16 ? at::kHalf : at::kFloat;
  }

  void load(const eval::Model& model, Step& step, int norm) {
    at::Tensor weight =
        eval::to_tensor(model.weights.at(step.node.name + ".weight")).to(at::kDouble);
    at::Tensor bias;
    if (step.node.bias) {
      bias = eval::to_tensor(model.weights.at(step.node.name + ".bias")).to(at::kDouble);
    }
    if (norm >= 0) {
      Step& folded = steps_[static_cast<std::size_t>(norm)];
      folded.skipped = true;
      const auto entry = [&](const char* name) {
        return eval::to_tensor(model.weights.at(folded.node.name + name)).to(at::kDouble);
      };
      const at::Tensor factor =
          entry(".weight") / at::sqrt(entry(".running_var") + folded.node.epsilon);
      const at::Tensor offset = entry(".bias") - entry(".running_mean") * factor;
      weight = weight * factor.view({-1, 1, 1, 1});
      bias = bias.defined() ? bias * factor + offset : offset;
    }
    step.weight = weight.to(device_, type());
    if (step.node.op == Op::kConv) {
      step.weight = step.weight.contiguous(at::MemoryFormat::ChannelsLast);
    }
    if (bias.defined()) step.bias = bias.to(device_, type());
  }

  void run(const at::Tensor& input, float* logits) {
    const bool tf32 = precision_ == TorchPrecision::kTf32;
    at::globalContext().setAllowTF32CuDNN(tf32);
    at::globalContext().setAllowTF32CuBLAS(tf32);
    at::globalContext().setBenchmarkCuDNN(true);
    std::vector<at::Tensor> values;
    values.push_back(input.to(type()).contiguous(at::MemoryFormat::ChannelsLast));
    for (std::size_t i = 1; i < steps_.size(); ++i) values.push_back(value_of(steps_[i], values));
    at::from_blob(logits, {input.size(0), info_.num_classes}, at::kFloat)
        .copy_(values.back().flatten(1));  // waits for the GPU
  }

  static at::Tensor value_of(const Step& step, const std::vector<at::Tensor>& values) {
    std::vector<at::Tensor> inputs;
    for (const int input : step.node.inputs) {
      inputs.push_back(values[static_cast<std::size_t>(input)]);
    }
    if (step.skipped) return inputs[0];
    return step.node.is_layer() ? eval::apply_layer(step.node, inputs[0], step.weight, step.bias)
                                : eval::apply_function(step.node, inputs);
  }

  const eval::ModelInfo& info_;
  const at::Device device_;
  const TorchPrecision precision_;
  std::vector<Step> steps_;  // one a node
  at::Tensor mean_, stddev_;
};

}  // namespace

std::string load_torch_cuda() {
  Dl_info found{};
  if (dladdr(reinterpret_cast<void*>(&at::globalContext), &found) == 0) {
    return "libtorch_cpu.so was not found among the loaded libraries";
  }
  const std::string cpu = found.dli_fname;
  const std::string cuda = cpu.substr(0, cpu.rfind('/') + 1) + "libtorch_cuda.so";
  if (dlopen(cuda.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) return dlerror();
  return at::hasCUDA() ? "" : "LibTorch finds no CUDA device";
}

std::unique_ptr<eval::Engine> make_torch_engine(const eval::Model& model, const std::string& device,
                                                TorchPrecision precision) {
  return std::make_unique<TorchEngine>(model, device, precision);
}

}  // namespace squant::bench
