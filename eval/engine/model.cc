#include "eval/engine/engine.h"

namespace squant::eval {

Model make_model(const std::string& name, StateDict weights, const std::string& where) {
  const ModelInfo& info = model_info(name);
  Graph graph = info.build();
  check_state_dict(graph, weights, where + " as " + name);
  return {&info, std::move(graph), std::move(weights)};
}

QuantizedWeights quantize_weights(const Model& model, const quant::SquantOptions& options) {
  QuantizedWeights result;
  result.bits = options.bits;
  for (const int index : model.graph.layers()) {
    const std::string& name = model.graph.node(index).name;
    const HostTensor& weight = model.weights.at(name + ".weight");
    QuantizedLayer layer;
    layer.name = name;
    layer.shape = quant::weight_shape(weight.shape, name + ".weight");
    layer.codes.resize(static_cast<std::size_t>(layer.shape.size()));
    layer.scale.resize(static_cast<std::size_t>(layer.shape.out));
    layer.zero_point.resize(static_cast<std::size_t>(layer.shape.out));
    result.layers.push_back(std::move(layer));
  }
  std::vector<quant::SquantTensor> tensors;
  for (QuantizedLayer& layer : result.layers) {
    const HostTensor& weight = model.weights.at(layer.name + ".weight");
    tensors.push_back({layer.name + ".weight", layer.shape, weight.values.data(),
                       layer.codes.data(), layer.scale.data(), layer.zero_point.data()});
  }
  quant::squant_cpu(tensors, options);
  return result;
}

}  // namespace squant::eval
