#include "eval/engine/quantized_weights.h"

namespace squant::eval {

Model make_model(const std::string& name, StateDict weights, const std::string& where) {
  const ModelInfo& info = model_info(name);
  Graph graph = info.build();
  check_state_dict(graph, weights, where + " as " + name);
  return {&info, std::move(graph), std::move(weights)};
}

QuantizedWeights make_quantized_weights(const Model& model, int bits) {
  QuantizedWeights result;
  result.bits = bits;
  for (const int index : model.graph.layers()) {
    const std::string& name = model.graph.node(index).name;
    QuantizedLayer layer;
    layer.name = name;
    layer.shape = quant::weight_shape(model.weights.at(name + ".weight").shape, name + ".weight");
    layer.codes.resize(static_cast<std::size_t>(layer.shape.size()));
    layer.scale.resize(static_cast<std::size_t>(layer.shape.out));
    layer.zero_point.resize(static_cast<std::size_t>(layer.shape.out));
    result.layers.push_back(std::move(layer));
  }
  return result;
}

std::vector<quant::SquantTensor> squant_tensors(const Model& model, QuantizedWeights& weights) {
  std::vector<quant::SquantTensor> tensors;
  for (QuantizedLayer& layer : weights.layers) {
    tensors.push_back({layer.name + ".weight", layer.shape,
                       model.weights.at(layer.name + ".weight").values.data(), layer.codes.data(),
                       layer.scale.data(), layer.zero_point.data()});
  }
  return tensors;
}

QuantizedWeights quantize_weights(const Model& model, const quant::SquantOptions& options) {
  QuantizedWeights result = make_quantized_weights(model, options.bits);
  quant::squant_cpu(squant_tensors(model, result), options);
  return result;
}

}  // namespace squant::eval
