// Data-free activation ranges, and the affine code of one activation tensor. Formulas:
// quant/ALGORITHM.md, "Activations".
#pragma once

#include <cstdint>

#include "quant/squant.h"

namespace squant::quant {

// Statistics of one tensor, in double, summed in an order that depends only on `size`: blocks of
// 65,536 elements in memory order, then over the blocks. The result does not depend on the number
// of threads.
struct ActivationStats {
  std::int64_t size = 0;
  std::int64_t num_positive = 0;
  double stddev = 0;           // of all elements, Bessel's correction
  double stddev_positive = 0;  // of the elements > 0, Bessel's correction
  float min = 0;
  float max = 0;
};
// Throws std::invalid_argument for an empty tensor or one with a NaN or infinite element.
ActivationStats activation_stats(const float* values, std::int64_t size);

// The float32 range that an activation code covers.
struct ActivationRange {
  float min = 0;  // 0: unsigned codes
  float max = 0;
};
// range = sigma * stddev, see ALGORITHM.md. Throws std::invalid_argument for bits outside [2, 8].
ActivationRange activation_range(const ActivationStats& stats, int bits, double sigma,
                                 Rounding rounding);

// code = clamp(round_half_even(scale * x - zero_point), lo, hi); x is restored as (code +
// zero_point) / scale.
struct ActivationAffine {
  float scale = 1;
  float zero_point = 0;  // an integer
  std::int32_t lo = 0;
  std::int32_t hi = 255;
  bool is_signed() const { return lo < 0; }
};
ActivationAffine activation_affine(const ActivationRange& range, int bits);

}  // namespace squant::quant
