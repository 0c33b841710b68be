// What every entry point of quant/ checks first.
#pragma once

#include "quant/squant.h"

namespace squant::quant {

// Throws std::invalid_argument, beginning with `function`, for bits outside [2, 8].
void check_bits(int bits, const char* function);
// Throws std::invalid_argument naming the tensor for an empty or too large shape, or a null
// pointer.
void check_tensor(const SquantTensor& tensor, const char* function);

}  // namespace squant::quant
