// Where weights are quantized: on the CPU or on a GPU, to the same codes.
#pragma once

#include <memory>

#include "quant/squant.h"

namespace squant::eval {

class Quantizer {
 public:
  virtual ~Quantizer() = default;
  // As quant::squant_cpu, of one tensor in host memory.
  virtual void quantize(const quant::SquantTensor& tensor) = 0;
};

// Throws std::invalid_argument, saying why, when `on_cuda` is asked for and this program was built
// without CUDA or the machine has no usable GPU.
std::unique_ptr<Quantizer> make_quantizer(const quant::SquantOptions& options, bool on_cuda);

}  // namespace squant::eval
