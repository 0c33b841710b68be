// What each stage of SQuant did to a tensor.
#pragma once

#include <optional>

#include "quant/squant.h"

namespace squant::quant {

// The errors after each stage of a mode: what the next one starts from.
struct StageErrors {
  SquantErrors e;                 // rounding alone
  std::optional<SquantErrors> k;  // after SQuant-K
  std::optional<SquantErrors> c;  // after SQuant-C
};
// Quantizes copies, each with one stage more; `tensor` is only read, and its outputs may be null.
// Throws as squant_cpu does.
StageErrors squant_stage_errors(const SquantTensor& tensor, const SquantOptions& options);

}  // namespace squant::quant
