#include "eval/cuda/program.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "eval/cuda/layer_operations.h"
#include "eval/cuda/tables.h"
#include "eval/engine/integer_constants.h"

namespace squant::eval::cuda {
namespace {

class ProgramBuilder {
 public:
  ProgramBuilder(const Model& model, const QuantizedWeights& weights,
                 const ActivationSettings& activations, const ProgramOptions& options)
      : model_(model),
        weights_(weights),
        options_(options),
        forms_(share_forms(layer_affines(model, activations))),
        plan_(make_plan(model.graph, forms_.of_layer, false)),
        arena_(place_values(plan_)) {
    check_quantized_weights(model, weights);
  }

  Program make() {
    program_.input = model_.graph.node(0).shape;
    program_.num_classes = model_.graph.node(model_.graph.output()).shape.size();
    program_.capacity = capacity();
    program_.arena_bytes = arena_.size_bytes * program_.capacity;
    program_.logits = tensor(plan_.output);
    add_input();
    for (const Step& step : plan_.steps) {
      add_step(step);
    }
    program_.constants = tables_.take();
    return std::move(program_);
  }

 private:
  // An element's index is below 2^31.
  std::int64_t capacity() const {
    std::int64_t largest = 1;
    for (const Node& node : model_.graph.nodes()) {
      largest = std::max(largest, node.shape.size());
    }
    const std::int64_t most =
        std::min({options_.max_images, std::numeric_limits<std::int32_t>::max() / largest,
                  options_.arena_bytes / std::max<std::int64_t>(arena_.size_bytes, 1)});
    return std::max<std::int64_t>(most, 1);
  }

  // A value's images lie one after the other, where one image has it scaled by their number.
  std::int64_t tensor(int value) const {
    return arena_.offsets[static_cast<std::size_t>(value)] * program_.capacity;
  }

  void add(Operation operation, int layer = -1) {
    program_.steps.push_back({std::move(operation), true, true, layer});
  }
  void add_on_pixels(Operation operation, int layer = -1) {
    program_.steps.push_back({std::move(operation), true, false, layer});
  }
  void add_on_input(Operation operation, int layer = -1) {
    program_.steps.push_back({std::move(operation), false, true, layer});
  }

  Outputs outputs_of(const Step& step) {
    Outputs out;
    out.before_add = step.before_add;
    out.after_add = step.after_add;
    out.residual = step.has_residual ? tensor(step.inputs[1]) : -1;
    out.values = step.values < 0 ? -1 : tensor(step.values);
    out.num_codes = static_cast<std::int32_t>(step.codes.size());
    std::vector<CodeOutput> codes;
    for (const int code : step.codes) {
      const int form = plan_.values[static_cast<std::size_t>(code)].form;
      codes.push_back(
          {tensor(code), make_quantizer(forms_.affines[static_cast<std::size_t>(form)])});
    }
    out.codes = tables_.add(codes);
    return out;
  }

  void add_input() {
    const Shape& shape = program_.input;
    ChannelsLastOp last;
    last.channels = static_cast<std::int32_t>(shape.channels);
    last.positions = shape.height * shape.width;
    last.output = tensor(plan_.input);
    add_on_input(last);
    if (!needs_float_pixels()) {
      return;
    }
    NormalizeOp normalize;
    normalize.channels = last.channels;
    normalize.elements = shape.size();
    std::vector<float> table;
    for (const auto& channel : pixel_normalization(*model_.info)) {
      table.insert(table.end(), channel.begin(), channel.end());
    }
    normalize.table = tables_.add(table);
    normalize.output = last.output;
    add_on_pixels(normalize);
  }

  // As the CPU's engine: a grouped first layer, or one behind another step, reads float32.
  bool pixels_into(const Step& step) const {
    return step.layer == 0 && step.inputs[0] == plan_.input &&
           model_.graph.node(step.layer_node).groups == 1;
  }
  bool needs_float_pixels() const {
    return plan_.needs_float_input ||
           std::none_of(plan_.steps.begin(), plan_.steps.end(),
                        [&](const Step& step) { return pixels_into(step); });
  }

  void add_step(const Step& step) {
    switch (step.kind) {
      case StepKind::kLayer:
        add_layer(step);
        return;
      case StepKind::kNode:
        add_node(step);
        return;
      case StepKind::kCodeNode:
        add_move(step, tensor(step.codes[0]), 1);
        return;
      case StepKind::kQuantize:
        add(elementwise(step));
        return;
    }
  }

  void add_layer(const Step& step) {
    const QuantizedLayer& layer = weights_.layers[static_cast<std::size_t>(step.layer)];
    const IntConvProblem problem = conv_problem(model_, step, layer);
    LayerSource source{problem, layer.scale, real_affine(model_, step), outputs_of(step),
                       tensor(step.inputs[0])};
    Operation operation;
    double bound = 0;
    if (step.layer > 0) {
      const auto form =
          static_cast<std::size_t>(plan_.values[static_cast<std::size_t>(step.inputs[0])].form);
      source.problem.format = code_format(forms_.affines[form]);
      bound = exact_sum_bound(source.problem);
      operation = code_layer(source, forms_.affines[form].scale, options_.tensor_cores, tables_);
      add(operation, step.layer);
    } else if (!pixels_into(step)) {
      operation = float_input_layer(source, tables_);
      add(operation, step.layer);
    } else {
      add_on_input(float_input_layer(source, tables_), step.layer);
      bound = exact_sum_bound(problem);
      operation = pixel_layer(source, *model_.info, options_.tensor_cores, tables_);
      add_on_pixels(operation, step.layer);
    }
    program_.layers.push_back({operation_kernel(operation), bound});
  }

  ElementwiseOp elementwise(const Step& step) {
    const Node& node = model_.graph.node(step.node);
    ElementwiseOp op;
    op.channels = static_cast<std::int32_t>(node.shape.channels);
    op.elements = node.shape.size();
    op.input = tensor(step.inputs[0]);
    op.out = outputs_of(step);
    return op;
  }

  void add_node(const Step& step) {
    const Node& node = model_.graph.node(step.node);
    switch (node.op) {
      case Op::kBatchNorm:
      case Op::kRelu:
      case Op::kRelu6:
      case Op::kAdd:
        add_elementwise_node(step, node);
        return;
      case Op::kGlobalAvgPool:
        add_global_average(step, node);
        return;
      default:
        add_move(step, tensor(step.values), 4);
    }
  }

  void add_elementwise_node(const Step& step, const Node& node) {
    ElementwiseOp op = elementwise(step);
    if (node.op == Op::kBatchNorm) {
      const ChannelAffine affine = batch_norm_affine(model_, step.node);
      op.out.multiplier = tables_.add(rounded(affine.multiplier));
      op.out.addend = tables_.add(rounded(affine.addend));
    } else if (node.op == Op::kAdd) {
      op.out.residual = tensor(step.inputs[1]);
    } else {
      op.out.before_add = clamp_of(node);
    }
    add(op);
  }

  void add_global_average(const Step& step, const Node& node) {
    const Shape& in = model_.graph.node(node.inputs[0]).shape;
    GlobalAverageOp op;
    op.positions = static_cast<std::int32_t>(in.height * in.width);
    op.channels = static_cast<std::int32_t>(in.channels);
    op.input = tensor(step.inputs[0]);
    op.output = tensor(step.values);
    add(op);
  }

  // Pools, concatenation and shuffle, on float32 values or on codes.
  void add_move(const Step& step, std::int64_t output, std::int32_t element_bytes) {
    const Node& node = model_.graph.node(step.node);
    const Shape& in = model_.graph.node(node.inputs[0]).shape;
    switch (node.op) {
      case Op::kConcat:
        add_concat(step, node, output, element_bytes);
        return;
      case Op::kChannelShuffle: {
        ShuffleOp op;
        op.element_bytes = element_bytes;
        op.channels = static_cast<std::int32_t>(in.channels);
        op.groups = static_cast<std::int32_t>(node.groups);
        op.positions = in.height * in.width;
        op.input = tensor(step.inputs[0]);
        op.output = output;
        add(op);
        return;
      }
      case Op::kMaxPool:
      case Op::kAvgPool: {
        PoolOp op;
        op.kind = pool_kind(step, node);
        op.shape = window_shape(node.window, in, node.shape);
        op.count_include_pad = node.window.count_include_pad;
        op.input = tensor(step.inputs[0]);
        op.output = output;
        add(op);
        return;
      }
      default:
        throw std::logic_error("cuda: a step for a node of another kind");
    }
  }

  PoolKind pool_kind(const Step& step, const Node& node) const {
    if (node.op == Op::kAvgPool) {
      return PoolKind::kAverage;
    }
    if (step.kind == StepKind::kNode) {
      return PoolKind::kMaxFloat;
    }
    return forms_.affines[static_cast<std::size_t>(step.form)].is_signed() ? PoolKind::kMaxInt8
                                                                           : PoolKind::kMaxUint8;
  }

  void add_concat(const Step& step, const Node& node, std::int64_t output,
                  std::int32_t element_bytes) {
    const std::int64_t pitch = node.shape.channels * element_bytes;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const std::int64_t row = model_.graph.node(node.inputs[i]).shape.channels * element_bytes;
      CopyOp op;
      for (const std::int32_t word : {4, 16}) {
        op.word_bytes = (pitch | row | begin) % word == 0 ? word : op.word_bytes;
      }
      op.rows = node.shape.height * node.shape.width;
      op.row_words = static_cast<std::int32_t>(row / op.word_bytes);
      op.pitch_words = static_cast<std::int32_t>(pitch / op.word_bytes);
      op.input = tensor(step.inputs[i]);
      op.output = output + begin;
      add(op);
      begin += row;
    }
  }

  const Model& model_;
  const QuantizedWeights& weights_;
  const ProgramOptions options_;
  const Forms forms_;
  const Plan plan_;
  const Arena arena_;
  Tables tables_;
  Program program_;
};

}  // namespace

Program make_program(const Model& model, const QuantizedWeights& weights,
                     const ActivationSettings& activations, const ProgramOptions& options) {
  return ProgramBuilder(model, weights, activations, options).make();
}

std::string operation_kernel(const Operation& operation) {
  if (const auto* conv = std::get_if<ConvOp>(&operation)) {
    return conv->tensor_cores ? "mma" : "loops";
  }
  if (std::holds_alternative<DepthwiseOp>(operation)) {
    return "depthwise";
  }
  if (std::holds_alternative<PixelConvOp>(operation)) {
    return std::get<PixelConvOp>(operation).tensor_cores ? "mma" : "loops";
  }
  return std::holds_alternative<FloatConvOp>(operation) ? "float64" : "";
}

}  // namespace squant::eval::cuda
