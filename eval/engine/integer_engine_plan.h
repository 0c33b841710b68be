// What the integer engine does for one network: the graph, fused into steps, each with the forms
// its values must have.
//
// A layer, the batch norm after it, a ReLU, an addition and a second ReLU become one step over the
// layer's integer sums, as far as nothing else reads what is between them. A value exists as
// float32 where an operation needs that, and as codes for the layers that read it; layers with the
// same affine share the codes.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/engine/epilogue.h"
#include "eval/graph/graph.h"

namespace squant::eval {

// Of a kRelu or kRelu6.
Clamp clamp_of(const Node& node);

// A value's form: float32, or the codes of affine `form` (>= 0).
inline constexpr int kFloatForm = -1;

// One tensor of one image, channels last. It lives in the steps [first_step, last_step].
struct PlanValue {
  int node = 0;
  int form = kFloatForm;
  std::int64_t size_bytes = 0;
  int first_step = 0;
  int last_step = 0;
};

enum class StepKind : std::uint8_t {
  kLayer,     // convolution or linear layer, with what is fused to it
  kNode,      // one node on float32
  kCodeNode,  // one node that only moves or compares, on codes of `form`
  kQuantize,  // float32 to codes of `form`
};

struct Step {
  StepKind kind = StepKind::kNode;
  int node = 0;             // the node whose value the step gives
  std::vector<int> inputs;  // indices into Plan::values; kLayer: its input, then, where there is
                            // one, the residual
  int values = -1;          // index of the float32 output, or -1
  std::vector<int> codes;   // indices of the code outputs
  int form = kFloatForm;    // kCodeNode, kQuantize

  // kLayer
  int layer = -1;  // index in layer order
  int layer_node = -1;
  int batch_norm = -1;  // node folded into the layer's affine step, or -1
  bool has_residual = false;
  Clamp before_add, after_add;
};

struct Plan {
  std::vector<PlanValue> values;
  std::vector<Step> steps;
  int input = -1;  // the float32 form of the network's input
  // Whether a step other than the first layer reads the input as float32: then pixels must be
  // normalized too.
  bool needs_float_input = false;
  int output = -1;
};

// form_of_layer: per layer the index of its input's affine; the first layer's is not used.
// separate_quantize: every layer's input exists as float32 first and is quantized by a step of its
// own, right before its first reader: calibration measures it there.
Plan make_plan(const Graph& graph, const std::vector<int>& form_of_layer, bool separate_quantize);

// Bytes from the arena's start at which each value lies, so that no two that live at once overlap.
struct Arena {
  std::vector<std::int64_t> offsets;
  std::int64_t size_bytes = 0;
};
Arena place_values(const Plan& plan);

}  // namespace squant::eval
