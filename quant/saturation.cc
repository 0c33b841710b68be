#include "quant/saturation.h"

#include <cmath>

#include "quant/numerics.h"

namespace squant::quant {

Saturation activation_saturation(const float* values, std::int64_t size,
                                 const ActivationAffine& affine) {
  if (size == 0) return {};
  const auto lo = static_cast<float>(affine.lo);
  const auto hi = static_cast<float>(affine.hi);
  std::int64_t num_low = 0;
  std::int64_t num_high = 0;
#pragma omp parallel for schedule(static) reduction(+ : num_low, num_high)
  for (std::int64_t i = 0; i < size; ++i) {
    const float code = std::nearbyint(to_code_units(values[i], {affine.scale, affine.zero_point}));
    num_low += code < lo ? 1 : 0;
    num_high += code > hi ? 1 : 0;
  }
  const auto all = static_cast<double>(size);
  return {static_cast<double>(num_low) / all, static_cast<double>(num_high) / all};
}

}  // namespace squant::quant
