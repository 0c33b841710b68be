// How much of an activation tensor its range cuts off.
#pragma once

#include <cstdint>

#include "quant/activation.h"

namespace squant::quant {

// The share of elements whose code is clamped, at lo and at hi.
struct Saturation {
  double low = 0;
  double high = 0;
};
// 0 and 0 for an empty tensor. Does not depend on the number of threads.
Saturation activation_saturation(const float* values, std::int64_t size,
                                 const ActivationAffine& affine);

}  // namespace squant::quant
