// The weights of a network as SQuant takes them: the shapes of its graph, made-up values.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/graph/graph.h"
#include "quant/squant.h"

namespace squant::bench {

// All weights in one piece of memory, normally distributed, with room for their codes.
class NetworkWeights {
 public:
  explicit NetworkWeights(const eval::Graph& graph);

  std::int64_t num_weights() const { return static_cast<std::int64_t>(weights_.size()); }
  // In layer order, named as in the state dict.
  const std::vector<quant::SquantTensor>& tensors() const { return tensors_; }

  // Copies the weights, each of the threads a share.
  void copy(int num_threads);

 private:
  std::vector<float> weights_;
  std::vector<float> copy_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scale_;
  std::vector<float> zero_point_;
  std::vector<quant::SquantTensor> tensors_;
};

}  // namespace squant::bench
