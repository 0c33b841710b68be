// One quantized layer as a GPU operation: its weights in the kernels' layouts, its constants.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/cuda/program.h"
#include "eval/cuda/tables.h"
#include "eval/engine/int_conv_weights.h"
#include "eval/engine/integer_constants.h"

namespace squant::eval::cuda {

WindowShape window_shape(const Window& window, const Shape& input, const Shape& output);

// What a layer is made of.
struct LayerSource {
  IntConvProblem problem;           // refers to the layer's codes
  std::vector<float> weight_scale;  // [O]
  ChannelAffine real;               // what follows its real-valued sums
  Outputs out;                      // without the affine step
  std::int64_t input = -1;
};

// A layer on codes of problem.format. Throws std::invalid_argument, naming the layer, where 64-bit
// integers do not hold its sums.
Operation code_layer(const LayerSource& source, double input_scale, bool tensor_cores,
                     Tables& tables);
// The first layer on float32 values, and on pixels.
Operation float_input_layer(const LayerSource& source, Tables& tables);
Operation pixel_layer(const LayerSource& source, const ModelInfo& info, bool tensor_cores,
                      Tables& tables);

}  // namespace squant::eval::cuda
