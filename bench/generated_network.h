// Networks for measurements: generated weights, quantized and calibrated as a job is.
#pragma once

#include "eval/engine/engine.h"

namespace squant::bench {

eval::Model generated_model(const eval::ModelInfo& info);

// A model quantized by SQuant to `bits` for weights and activations.
struct QuantizedNetwork {
  eval::QuantizedWeights weights;
  eval::ActivationSettings activations;
};
QuantizedNetwork quantize_network(const eval::Model& model, int bits);

// Pixels of `count` images that look like noise.
std::vector<std::uint8_t> noise_pixels(const eval::ModelInfo& info, std::int64_t count);

}  // namespace squant::bench
