#include "bench/weights.h"

#include <cstring>
#include <random>

namespace squant::bench {
namespace {

quant::WeightShape weight_shape_of(const eval::Graph& graph, const eval::Node& layer) {
  const std::int64_t in = graph.node(layer.inputs[0]).shape.channels / layer.groups;
  return {layer.shape.channels, in, layer.window.kernel_h * layer.window.kernel_w};
}

}  // namespace

NetworkWeights::NetworkWeights(const eval::Graph& graph) {
  std::int64_t num_weights = 0;
  std::int64_t num_channels = 0;
  for (const int index : graph.layers()) {
    const eval::Node& layer = graph.node(index);
    tensors_.push_back(
        {layer.name, weight_shape_of(graph, layer), nullptr, nullptr, nullptr, nullptr});
    num_weights += tensors_.back().shape.size();
    num_channels += tensors_.back().shape.out;
  }
  weights_.resize(static_cast<std::size_t>(num_weights));
  copy_.resize(weights_.size());
  codes_.resize(weights_.size());
  scale_.resize(static_cast<std::size_t>(num_channels));
  zero_point_.resize(scale_.size());
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  for (float& weight : weights_) weight = normal(random);
  std::int64_t at = 0;
  std::int64_t channel = 0;
  for (quant::SquantTensor& tensor : tensors_) {
    tensor.weights = weights_.data() + at;
    tensor.codes = codes_.data() + at;
    tensor.scale = scale_.data() + channel;
    tensor.zero_point = zero_point_.data() + channel;
    at += tensor.shape.size();
    channel += tensor.shape.out;
  }
}

void NetworkWeights::copy(int num_threads) {
#pragma omp parallel for schedule(static) num_threads(num_threads)
  for (int thread = 0; thread < num_threads; ++thread) {
    const auto begin = static_cast<std::size_t>(num_weights() * thread / num_threads);
    const auto end = static_cast<std::size_t>(num_weights() * (thread + 1) / num_threads);
    std::memcpy(copy_.data() + begin, weights_.data() + begin, (end - begin) * sizeof(float));
  }
}

}  // namespace squant::bench
