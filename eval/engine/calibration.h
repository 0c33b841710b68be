// Calibration with all that it measures.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/engine/engine.h"
#include "quant/saturation.h"

namespace squant::eval {

struct Calibration {
  std::vector<quant::ActivationRange> ranges;  // as calibrate() gives them
  // Per layer: of its inputs that the range was measured on. 0 and 0 for the first layer.
  std::vector<quant::Saturation> saturation;
};
// As calibrate().
Calibration calibrate_and_measure(const Model& model, const QuantizedWeights& weights,
                                  int activation_bits, quant::Rounding rounding, double sigma,
                                  std::int64_t num_images);

}  // namespace squant::eval
