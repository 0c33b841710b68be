// The CUDA side of quantizer.h.
#pragma once

#include <memory>

#include "eval/export/quantizer.h"

namespace squant::eval {

// Throws std::invalid_argument, saying why, where there is no usable GPU or no CUDA in the build.
std::unique_ptr<Quantizer> make_cuda_quantizer(const quant::SquantOptions& options);

}  // namespace squant::eval
