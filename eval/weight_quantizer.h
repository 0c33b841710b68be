// SQuant of a model's weights: on the GPU where there is one, else on the CPU. The same codes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "eval/cuda/cuda_device.h"
#include "eval/engine/quantized_weights.h"

namespace squant::eval {

// Times as Preparation has them.
struct MeasuredWeights {
  QuantizedWeights weights;
  std::string device;  // as Preparation::quantize_device
  double model_ms = 0;
  std::vector<double> layer_ms;  // in layer order
};

// The CPU does what the GPU does not take or refuses, with a line in the log. What the GPU wrote is
// compared with the CPU's codes: the first time, and each time that is measured. Where they differ,
// the CPU's are taken, and the GPU is not asked again.
class WeightQuantizer {
 public:
  // device: null: the CPU alone.
  explicit WeightQuantizer(std::shared_ptr<CudaDevice> device);

  // Throw std::invalid_argument as squant_cpu does. Without repeats nothing is measured.
  QuantizedWeights quantize(const Model& model, const quant::SquantOptions& options);
  MeasuredWeights measure(const Model& model, const quant::SquantOptions& options, int repeats);

 private:
  MeasuredWeights by_cpu(const Model& model, const quant::SquantOptions& options, int repeats);
  // Returns whether all went well; `result` is then complete.
  bool by_gpu(const Model& model, const quant::SquantOptions& options, int repeats,
              MeasuredWeights& result);
  bool codes_are_the_cpus(const Model& model, const quant::SquantOptions& options,
                          const QuantizedWeights& weights);

  std::shared_ptr<CudaDevice> device_;  // null from the first wrong code on
  bool is_checked_ = false;
};

}  // namespace squant::eval
