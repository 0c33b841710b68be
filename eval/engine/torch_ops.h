// One node of a graph, computed by LibTorch. Shared by the float engine and the training tool;
// works with autograd.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "eval/graph/graph.h"

namespace squant::eval {

// A copy, contiguous.
at::Tensor to_tensor(const HostTensor& tensor);

// kConv: weight [O, I / groups, kh, kw]; kLinear: weight [O, I]. `bias` may be undefined.
at::Tensor apply_layer(const Node& node, const at::Tensor& input, const at::Tensor& weight,
                       const at::Tensor& bias);

// Every node without parameters. May return its input.
at::Tensor apply_function(const Node& node, const std::vector<at::Tensor>& inputs);

}  // namespace squant::eval
