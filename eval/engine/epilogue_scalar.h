// What follows a layer's integer sum, one value at a time: the only place where it is defined.
// CPU loops and CUDA kernels include this header, so that their results agree to the bit
// (docs/numerics.md, "After the sum"). Plain C++17.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "quant/numerics.h"  // SQ_HOST_DEVICE

namespace squant::eval {

// ReLU is {0, inf}, ReLU6 {0, 6}.
struct Clamp {
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();
};

// How a float becomes a stored byte.
struct Quantizer {
  float scale = 1, zero_point = 0;
  float lo = 0, hi = 255;  // of the code
  std::int32_t shift = 0;  // stored = code + shift
};

// One operation, one rounding: no compiler may fuse two of them.
SQ_HOST_DEVICE float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
SQ_HOST_DEVICE float rounded_sum(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}
SQ_HOST_DEVICE float rounded_quotient(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

SQ_HOST_DEVICE float clamp_value(float y, float lo, float hi) {
#if defined(__CUDA_ARCH__)
  return fminf(fmaxf(y, lo), hi);  // one instruction each; lo and hi are no NaN, and never -0
#else
  y = y > lo ? y : lo;
  return y < hi ? y : hi;
#endif
}

SQ_HOST_DEVICE std::uint8_t quantize_value(float y, const Quantizer& q) {
  // Adding 1.5 * 2^23 to |t| < 2^22 leaves no fraction bits: the sum is t rounded half to even,
  // its low bits the integer.
  constexpr float kRounder = 12582912.0F;
  constexpr std::int32_t kRounderBits = 0x4B400000;
  float t = rounded_product(q.scale, y);
  t = rounded_sum(t, -q.zero_point);
  t = rounded_sum(clamp_value(t, q.lo, q.hi), kRounder);
  std::int32_t bits = 0;
  memcpy(&bits, &t, sizeof bits);
  return static_cast<std::uint8_t>(bits - kRounderBits + q.shift);
}

}  // namespace squant::eval
