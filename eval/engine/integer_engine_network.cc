#include <algorithm>
#include <stdexcept>

#include "eval/engine/integer_engine.h"
#include "eval/engine/node_kernels.h"

namespace squant::eval {
namespace {

template <typename T>
T* value_of(const IntegerNetwork::Values& values, int index) {
  return reinterpret_cast<T*>(values[static_cast<std::size_t>(index)]);
}

// Gathers the inputs, one after the other in each position's row. `element_size` in bytes.
void concatenate(const Graph& graph, const Node& node, const std::vector<const std::byte*>& inputs,
                 std::int64_t element_size, std::byte* out) {
  const std::int64_t positions = node.shape.height * node.shape.width;
  const std::int64_t row = node.shape.channels * element_size;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::int64_t bytes = graph.node(node.inputs[i]).shape.channels * element_size;
    copy_rows(inputs[i], positions, bytes, out, row);
    out += bytes;
  }
}

}  // namespace

IntegerNetwork::IntegerNetwork(const Model& model, const QuantizedWeights& weights, Plan plan,
                               std::size_t num_forms, const IntegerOptions& options)
    : graph_(model.graph),
      plan_(std::move(plan)),
      options_(options),
      affines_(num_forms),
      quantizers_(num_forms),
      has_affine_(num_forms, false),
      prepared_(plan_.steps.size()) {
  check_quantized_weights(model, weights);
}

void IntegerNetwork::set_affine(int form, const quant::ActivationAffine& affine) {
  const auto at = static_cast<std::size_t>(form);
  affines_[at] = affine;
  quantizers_[at] = make_quantizer(affine);
  has_affine_[at] = true;
}

void IntegerNetwork::prepare_step(std::size_t step, const Model& model,
                                  const QuantizedWeights& weights, bool on_pixels) {
  const Step& it = plan_.steps[step];
  if (it.kind == StepKind::kNode) {
    prepare_node(step, model);
  }
  if (it.kind != StepKind::kLayer) {
    return;
  }
  PreparedStep& prepared = prepared_[step];
  const QuantizedLayer& layer = weights.layers[static_cast<std::size_t>(it.layer)];
  if (it.layer > 0) {
    const int form = plan_.values[static_cast<std::size_t>(it.inputs[0])].form;
    prepared.layer = make_code_layer(model, it, layer, affines_[static_cast<std::size_t>(form)],
                                     options_.kernel);
    return;
  }
  prepared.layer = make_float_input_layer(model, it, layer);
  if (on_pixels && it.inputs[0] == plan_.input) {
    prepared.pixel_layer = make_pixel_layer(model, it, layer, options_.kernel);
    has_pixel_layer_ = prepared.pixel_layer != nullptr;
  }
}

void IntegerNetwork::prepare_node(std::size_t step, const Model& model) {
  const Node& node = graph_.node(plan_.steps[step].node);
  const auto channels = static_cast<std::size_t>(node.shape.channels);
  auto epilogue = std::make_unique<Epilogue>();
  epilogue->has_affine = false;
  epilogue->multiplier = epilogue->addend = ChannelValues(std::vector<float>(channels, 1.0F));
  if (node.op == Op::kBatchNorm) {
    const ChannelAffine affine = batch_norm_affine(model, plan_.steps[step].node);
    epilogue->has_affine = true;
    epilogue->multiplier = ChannelValues({affine.multiplier.begin(), affine.multiplier.end()});
    epilogue->addend = ChannelValues({affine.addend.begin(), affine.addend.end()});
  } else if (node.op == Op::kRelu || node.op == Op::kRelu6) {
    epilogue->before_add = clamp_of(node);
  } else if (node.op != Op::kAdd) {
    return;
  }
  prepared_[step].epilogue = std::move(epilogue);
}

void IntegerNetwork::run_step(std::size_t step, const std::uint8_t* pixels, const Values& values,
                              Scratch& scratch) const {
  const Step& it = plan_.steps[step];
  switch (it.kind) {
    case StepKind::kLayer:
      run_layer(step, pixels, values, scratch);
      return;
    case StepKind::kNode:
      run_node(step, values);
      return;
    case StepKind::kCodeNode:
      run_code_node(it, values);
      return;
    case StepKind::kQuantize:
      quantize_values(quantizer(it.form), value_of<float>(values, it.inputs[0]),
                      graph_.node(it.node).shape.size(),
                      value_of<std::uint8_t>(values, it.codes[0]));
      return;
  }
}

void IntegerNetwork::run_layer(std::size_t step, const std::uint8_t* pixels, const Values& values,
                               Scratch& scratch) const {
  const Step& it = plan_.steps[step];
  LayerOutputs outputs;
  outputs.values = it.values < 0 ? nullptr : value_of<float>(values, it.values);
  for (const int code : it.codes) {
    outputs.codes.push_back(value_of<std::uint8_t>(values, code));
    outputs.quantizers.push_back(&quantizer(plan_.values[static_cast<std::size_t>(code)].form));
  }
  const float* residual = it.has_residual ? value_of<float>(values, it.inputs[1]) : nullptr;
  const PreparedStep& prepared = prepared_[step];
  if (pixels != nullptr && prepared.pixel_layer != nullptr) {
    prepared.pixel_layer->run(pixels, residual, outputs, scratch);
  } else {
    prepared.layer->run(value_of<void>(values, it.inputs[0]), residual, outputs, scratch);
  }
}

void IntegerNetwork::run_node(std::size_t step, const Values& values) const {
  const Step& it = plan_.steps[step];
  const Node& node = graph_.node(it.node);
  const Shape& input = graph_.node(node.inputs[0]).shape;
  const auto* in = value_of<float>(values, it.inputs[0]);
  auto* out = value_of<float>(values, it.values);
  switch (node.op) {
    case Op::kBatchNorm:
    case Op::kRelu:
    case Op::kRelu6:
    case Op::kAdd:
      run_epilogue(*prepared_[step].epilogue, in,
                   node.op == Op::kAdd ? value_of<float>(values, it.inputs[1]) : nullptr,
                   node.shape.height * node.shape.width, {out, nullptr, nullptr});
      return;
    case Op::kConcat: {
      std::vector<const std::byte*> inputs;
      for (const int index : it.inputs) {
        inputs.push_back(value_of<std::byte>(values, index));
      }
      concatenate(graph_, node, inputs, sizeof(float), reinterpret_cast<std::byte*>(out));
      return;
    }
    case Op::kMaxPool:
      max_pool(node, input, in, out);
      return;
    case Op::kAvgPool:
      avg_pool(node, input, in, out);
      return;
    case Op::kGlobalAvgPool:
      global_avg_pool(input, in, out);
      return;
    case Op::kChannelShuffle:
      shuffle_channels(in, input, node.groups, out);
      return;
    case Op::kInput:
    case Op::kConv:
    case Op::kLinear:
      break;
  }
  throw std::logic_error("integer engine: a step for a node of another kind");
}

void IntegerNetwork::run_code_node(const Step& step, const Values& values) const {
  const Node& node = graph_.node(step.node);
  const Shape& input = graph_.node(node.inputs[0]).shape;
  const auto* in = value_of<std::uint8_t>(values, step.inputs[0]);
  auto* out = value_of<std::uint8_t>(values, step.codes[0]);
  if (node.op == Op::kConcat) {
    std::vector<const std::byte*> inputs;
    for (const int index : step.inputs) {
      inputs.push_back(value_of<std::byte>(values, index));
    }
    concatenate(graph_, node, inputs, 1, reinterpret_cast<std::byte*>(out));
  } else if (node.op == Op::kChannelShuffle) {
    shuffle_channels(in, input, node.groups, out);
  } else if (affines_[static_cast<std::size_t>(step.form)].is_signed()) {
    max_pool(node, input, reinterpret_cast<const std::int8_t*>(in),
             reinterpret_cast<std::int8_t*>(out));
  } else {
    max_pool(node, input, in, out);
  }
}

std::vector<IntegerLayerFacts> IntegerNetwork::layer_facts() const {
  std::vector<IntegerLayerFacts> facts;
  for (const PreparedStep& step : prepared_) {
    const IntegerLayer* layer =
        step.pixel_layer != nullptr ? step.pixel_layer.get() : step.layer.get();
    if (layer != nullptr) {
      facts.push_back({layer->kernel(), layer->sum_bound()});
    }
  }
  return facts;
}

std::int64_t IntegerNetwork::memory_bytes() const {
  std::int64_t bytes = 0;
  for (const PreparedStep& step : prepared_) {
    for (const IntegerLayer* layer : {step.layer.get(), step.pixel_layer.get()}) {
      bytes += layer == nullptr ? 0 : layer->memory_bytes();
    }
  }
  return bytes;
}

}  // namespace squant::eval
