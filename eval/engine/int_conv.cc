#include "eval/engine/int_conv.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "eval/engine/int_conv_kernels.h"
#include "eval/engine/int_conv_weights.h"

namespace squant::eval {
namespace {

std::unique_ptr<IntConv> make_with(const IntConvProblem& problem, SumKernel kernel) {
  switch (kernel) {
    case SumKernel::kInt8:
      return make_int8_conv(problem);
    case SumKernel::kFloat32:
      return make_float32_conv(problem);
    case SumKernel::kFloat64:
      break;
  }
  return make_float64_conv(problem);
}

}  // namespace

CodeFormat code_format(const quant::ActivationAffine& affine) {
  if (!(std::abs(affine.zero_point) < 0x1p24F)) {
    throw std::invalid_argument("an activation's zero point is " +
                                std::to_string(affine.zero_point) +
                                ": its range is far from 0, which no calibration gives");
  }
  const auto zero_point = static_cast<std::int32_t>(std::lround(affine.zero_point));
  CodeFormat format;
  format.is_signed = affine.lo < 0;
  if (affine.lo + zero_point >= (format.is_signed ? -128 : 0) &&
      affine.hi + zero_point <= (format.is_signed ? 127 : 255)) {
    format.shift = zero_point;
  } else {
    format.zero = zero_point;
  }
  format.lo = affine.lo + format.shift;
  format.hi = affine.hi + format.shift;
  return format;
}

const char* sum_kernel_name(SumKernel kernel) {
  switch (kernel) {
    case SumKernel::kInt8:
      return "int8";
    case SumKernel::kFloat32:
      return "float32";
    case SumKernel::kFloat64:
      break;
  }
  return "float64";
}

std::unique_ptr<IntConv> make_int_conv(const IntConvProblem& problem,
                                       std::optional<SumKernel> kernel) {
  check_input_range(problem);
  std::unique_ptr<IntConv> result;
  if (kernel.has_value()) {
    result = make_with(problem, *kernel);
  } else {
    for (const SumKernel candidate : {SumKernel::kInt8, SumKernel::kFloat32, SumKernel::kFloat64}) {
      result = make_with(problem, candidate);
      if (result != nullptr) {
        break;
      }
    }
  }
  if (result == nullptr) {
    throw std::invalid_argument(problem.name + ": its integer sums can reach " +
                                std::to_string(exact_sum_bound(problem)) + ", more than " +
                                (kernel.has_value() ? sum_kernel_name(*kernel) : "any") +
                                " kernel adds exactly here");
  }
  result->bound_ = exact_sum_bound(problem);
  return result;
}

}  // namespace squant::eval
