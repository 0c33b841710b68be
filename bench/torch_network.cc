#include "bench/torch_network.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
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
  at::Tensor weight, bias;      // of a layer
  bool skipped = false;         // a batch norm that its convolution took over
  std::vector<int> last_reads;  // values that nobody reads afterwards
};

// The batch norm that alone reads a convolution; -1: there is none.
int norm_behind(const eval::Graph& graph, const std::vector<int>& readers, const Node& node) {
  const bool alone = node.op == Op::kConv && readers.size() == 1;
  return alone && graph.node(readers[0]).op == Op::kBatchNorm ? readers[0] : -1;
}

class FloatNetwork final : public TorchEngine {
 public:
  FloatNetwork(const eval::Model& model, const std::string& device, TorchPrecision precision)
      : info_(*model.info), device_(device), precision_(precision) {
    const c10::InferenceMode guard;
    const std::vector<std::vector<int>> consumers = model.graph.consumers();
    for (const Node& node : model.graph.nodes()) steps_.push_back({node, {}, {}, false, {}});
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      if (consumers[i].empty()) continue;
      const int last = *std::max_element(consumers[i].begin(), consumers[i].end());
      steps_[static_cast<std::size_t>(last)].last_reads.push_back(static_cast<int>(i));
    }
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
    copy_to_host(forward(input_of(pixels, n)), logits);
  }
  void run_input(const float* input, std::int64_t n, float* logits) override {
    const c10::InferenceMode guard;
    const at::Tensor values =
        at::from_blob(const_cast<float*>(input),
                      {n, info_.input.channels, info_.input.height, info_.input.width}, at::kFloat)
            .to(device_);
    copy_to_host(forward(in_precision(values)), logits);
  }
  void hold_pixels(const std::uint8_t* pixels, std::int64_t n, std::int64_t batch) override {
    constexpr std::int64_t kMostBytes = std::int64_t{2} << 30;
    const c10::InferenceMode guard;
    held_.clear();
    num_images_ = n;
    std::int64_t held_bytes = 0;
    for (std::int64_t i = 0; i < n && held_bytes < kMostBytes; i += batch) {
      held_.push_back(input_of(pixels + i * info_.input.size(), std::min(batch, n - i)));
      held_bytes += held_.back().numel() * held_.back().element_size();
    }
  }
  void run_held(float* logits) override {
    const c10::InferenceMode guard;
    std::vector<at::Tensor> results;
    std::int64_t done = 0;
    for (std::size_t i = 0; done < num_images_; ++i) {
      const at::Tensor& held = held_[i % held_.size()];
      results.push_back(forward(held.narrow(0, 0, std::min(held.size(0), num_images_ - done))));
      done += results.back().size(0);
    }
    copy_to_host(at::cat(results), logits);
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

  at::Tensor in_precision(const at::Tensor& input) const {
    return input.to(type()).contiguous(at::MemoryFormat::ChannelsLast);
  }
  at::Tensor input_of(const std::uint8_t* pixels, std::int64_t n) const {
    const at::Tensor images =
        at::from_blob(const_cast<std::uint8_t*>(pixels),
                      {n, info_.input.height, info_.input.width, info_.input.channels}, at::kByte)
            .to(device_);
    // NHWC bytes seen as NCHW are channels-last already.
    return in_precision(
        images.permute({0, 3, 1, 2}).to(at::kFloat).div_(255).sub_(mean_).div_(stddev_));
  }

  // Logits on the device, not waited for.
  at::Tensor forward(const at::Tensor& input) const {
    const bool tf32 = precision_ == TorchPrecision::kTf32;
    at::globalContext().setAllowTF32CuDNN(tf32);
    at::globalContext().setAllowTF32CuBLAS(tf32);
    at::globalContext().setBenchmarkCuDNN(true);
    std::vector<at::Tensor> values;
    values.push_back(input);
    for (std::size_t i = 1; i < steps_.size(); ++i) {
      values.push_back(value_of(steps_[i], values));
      for (const int read : steps_[i].last_reads) values[static_cast<std::size_t>(read)].reset();
    }
    return values.back().flatten(1);
  }
  static void copy_to_host(const at::Tensor& results, float* logits) {
    at::from_blob(logits, results.sizes(), at::kFloat).copy_(results);  // waits for the GPU
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
  std::vector<at::Tensor> held_;  // inputs, a batch each
  std::int64_t num_images_ = 0;   // of a run over them
};

}  // namespace

std::unique_ptr<TorchEngine> make_torch_engine(const eval::Model& model, const std::string& device,
                                               TorchPrecision precision) {
  return std::make_unique<FloatNetwork>(model, device, precision);
}

}  // namespace squant::bench
