#include "eval/engine/torch_ops.h"

#include <cstring>
#include <limits>
#include <stdexcept>

namespace squant::eval {
namespace {

bool is_symmetric(const Padding& pad) { return pad.top == pad.bottom && pad.left == pad.right; }

// LibTorch's operators pad both ends alike: what is beyond that is written out.
at::Tensor pad_explicitly(const at::Tensor& input, const Padding& pad, double value) {
  return at::constant_pad_nd(input, {pad.left, pad.right, pad.top, pad.bottom}, value);
}

at::Tensor convolve(const Node& node, at::Tensor input, const at::Tensor& weight,
                    const at::Tensor& bias) {
  const Window& window = node.window;
  Padding pad = window.padding;
  if (!is_symmetric(pad)) {
    input = pad_explicitly(input, pad, 0);
    pad = {};
  }
  return at::conv2d(input, weight, bias, {window.stride_h, window.stride_w}, {pad.top, pad.left},
                    {1, 1}, node.groups);
}

at::Tensor max_pool(const Window& window, at::Tensor input) {
  Padding pad = window.padding;
  if (!is_symmetric(pad)) {
    input = pad_explicitly(input, pad, -std::numeric_limits<double>::infinity());
    pad = {};
  }
  return at::max_pool2d(input, {window.kernel_h, window.kernel_w},
                        {window.stride_h, window.stride_w}, {pad.top, pad.left}, {1, 1},
                        window.ceil_mode);
}

at::Tensor avg_pool(const Window& window, at::Tensor input) {
  Padding pad = window.padding;
  if (!is_symmetric(pad)) {
    if (!window.count_include_pad || window.ceil_mode) {
      throw std::logic_error(
          "average pool: padding that differs by side needs count_include_pad and no ceil_mode");
    }
    input = pad_explicitly(input, pad, 0);
    pad = {};
  }
  return at::avg_pool2d(input, {window.kernel_h, window.kernel_w},
                        {window.stride_h, window.stride_w}, {pad.top, pad.left}, window.ceil_mode,
                        window.count_include_pad);
}

}  // namespace

at::Tensor to_tensor(const HostTensor& tensor) {
  at::Tensor result = at::empty(tensor.shape, at::kFloat);
  std::memcpy(result.mutable_data_ptr<float>(), tensor.values.data(),
              tensor.values.size() * sizeof(float));
  return result;
}

at::Tensor apply_layer(const Node& node, const at::Tensor& input, const at::Tensor& weight,
                       const at::Tensor& bias) {
  if (node.op == Op::kLinear) {
    return at::linear(input.flatten(1), weight, bias).unflatten(1, {node.shape.channels, 1, 1});
  }
  return convolve(node, input, weight, bias);
}

at::Tensor apply_function(const Node& node, const std::vector<at::Tensor>& inputs) {
  switch (node.op) {
    case Op::kRelu:
      return at::relu(inputs.at(0));
    case Op::kRelu6:
      return at::relu6(inputs.at(0));
    case Op::kAdd:
      return inputs.at(0) + inputs.at(1);
    case Op::kConcat:
      return at::cat(inputs, 1);
    case Op::kMaxPool:
      return max_pool(node.window, inputs.at(0));
    case Op::kAvgPool:
      return avg_pool(node.window, inputs.at(0));
    case Op::kGlobalAvgPool:
      return at::mean(inputs.at(0), {2, 3}, /*keepdim=*/true);
    case Op::kChannelShuffle:
      return node.groups == 1 ? inputs.at(0) : at::channel_shuffle(inputs.at(0), node.groups);
    case Op::kInput:
    case Op::kConv:
    case Op::kLinear:
    case Op::kBatchNorm:
      break;
  }
  throw std::logic_error("apply_function: a node with parameters");
}

}  // namespace squant::eval
