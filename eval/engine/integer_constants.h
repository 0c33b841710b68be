// The numbers beside the codes that an integer engine needs, the same for every device: affine
// steps in double, rounded once (docs/numerics.md, "After the sum" and "The first layer").
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "eval/engine/engine.h"
#include "eval/engine/int_conv.h"
#include "eval/engine/integer_engine_plan.h"

namespace squant::eval {

// Throws std::invalid_argument, naming the layer, where weights do not belong to the model.
void check_quantized_weights(const Model& model, const QuantizedWeights& weights);

// The affine of each layer's input; the first layer's is not used. Throws std::invalid_argument
// where the settings do not belong to the model.
std::vector<quant::ActivationAffine> layer_affines(const Model& model,
                                                   const ActivationSettings& activations);

// Layers whose inputs have equal affines share a form: the codes are then the same bytes.
struct Forms {
  std::vector<int> of_layer;
  std::vector<quant::ActivationAffine> affines;
};
Forms share_forms(const std::vector<quant::ActivationAffine>& affines);

// What each byte of each channel is to the network: (pixel / 255 - mean) / stddev, in double,
// rounded.
std::vector<std::array<float, 256>> pixel_normalization(const ModelInfo& info);

// y = x * multiplier + addend, per channel.
struct ChannelAffine {
  std::vector<double> multiplier, addend;
};
// Of a batch norm.
ChannelAffine batch_norm_affine(const Model& model, int node);
// Of what follows a layer's real-valued sums: bias, and the batch norm fused to it.
ChannelAffine real_affine(const Model& model, const Step& step);
// Of what follows its integer sums: multipliers divided by (weight_scale * input_scale).
ChannelAffine sum_affine(const ChannelAffine& real, const std::vector<float>& weight_scale,
                         double input_scale);
std::vector<float> rounded(const std::vector<double>& values);

// The layer's convolution; `format` is left to the caller. Refers to `weights`.
IntConvProblem conv_problem(const Model& model, const Step& step, const QuantizedLayer& weights);

// A pixel p of channel c stands for x = p * a_c + b_c with a_c = 1 / (255 stddev_c), b_c = -mean_c
// / stddev_c. With v_c the integer sum of channel c, the layer's output is sum_c v_c * (a_c
// multiplier_o / scale_o) + shift, where shift_o = (sum_c b_c * sum over the taps inside the image
// of W_c) * multiplier_o / scale_o + addend_o depends on the position only through the taps that
// padding hides.
struct PixelConstants {
  std::vector<float> factors;              // [C, O]
  std::vector<std::vector<float>> shifts;  // [OW, O] for each kind of row
  std::vector<std::size_t> shift_of_row;   // [OH], index into shifts
};
PixelConstants pixel_constants(const IntConvProblem& problem, const ModelInfo& info,
                               const ChannelAffine& real, const std::vector<float>& weight_scale);

}  // namespace squant::eval
