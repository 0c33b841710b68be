// squant_cpu() with the instruction set given, for tests and benchmarks.
#pragma once

#include <span>

#include "quant/lanes/lanes.h"
#include "quant/squant.h"

namespace squant::quant {

// The codes do not depend on `simd`. Throws std::invalid_argument for one that this machine lacks.
void squant_cpu_simd(std::span<const SquantTensor> tensors, const SquantOptions& options,
                     Simd simd);

}  // namespace squant::quant
