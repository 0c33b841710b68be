// The kernels behind make_int_conv. Each returns null where it cannot compute a layer exactly.
#pragma once

#include <memory>

#include "eval/engine/int_conv.h"

namespace squant::eval {

std::unique_ptr<IntConv> make_int8_conv(const IntConvProblem& problem);
std::unique_ptr<IntConv> make_float32_conv(const IntConvProblem& problem);
std::unique_ptr<IntConv> make_float32_depthwise_conv(const IntConvProblem& problem);
std::unique_ptr<IntConv> make_float64_conv(const IntConvProblem& problem);

}  // namespace squant::eval
