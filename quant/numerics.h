// The arithmetic of SQuant, one element at a time: the only place where it is defined. Host code
// and CUDA kernels include this header, so that their codes agree to the bit. Plain C++17, no
// library calls but rintf and floorf. Every rule is stated in quant/ALGORITHM.md, whose section
// numbers stand below.
#pragma once

#include <math.h>

#include <cstdint>
#include <cstring>

#include "quant/mode.h"

#if defined(__CUDACC__)
#define SQ_HOST_DEVICE __host__ __device__ __forceinline__
#else
// Always inlined: files compiled for AVX-512 use this header too, and must not lend their copy to
// the others.
#define SQ_HOST_DEVICE inline __attribute__((always_inline))
#endif

namespace squant::quant {

// Section 1. `scale` multiplies: x = scale * w - zero_point is a weight in units of one code step.
struct Affine {
  float scale;
  float zero_point;
};

// The signed codes of `bits` bits.
struct CodeRange {
  float lo;
  float hi;
};

SQ_HOST_DEVICE CodeRange signed_code_range(int bits) {
  const float half = static_cast<float>(1 << (bits - 1));
  return {-half, half - 1.0f};
}

SQ_HOST_DEVICE bool has_kernel_stage(Mode mode) { return mode == Mode::kEK || mode == Mode::kEKC; }
SQ_HOST_DEVICE bool has_channel_stage(Mode mode) { return mode == Mode::kEC || mode == Mode::kEKC; }

// A product and a difference that no compiler may fuse into one rounding.
SQ_HOST_DEVICE float multiply_then_subtract(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fsub_rn(__fmul_rn(a, b), c);
#else
  return a * b - c;
#endif
}

// Section 1. is_signed: the shift by 2^(bits - 1) that makes codes signed; only unsigned
// activations go without.
SQ_HOST_DEVICE Affine affine_from_range(float min, float max, int bits, bool is_signed = true) {
  const float steps = static_cast<float>((1 << bits) - 1);
  const float width = max - min;
  const float scale = steps / (width > 1e-8f ? width : 1e-8f);
  const float shift = is_signed ? static_cast<float>(1 << (bits - 1)) : 0.0f;
  return {scale, rintf(scale * min) + shift};
}

SQ_HOST_DEVICE float to_code_units(float weight, Affine affine) {
  return multiply_then_subtract(affine.scale, weight, affine.zero_point);
}

SQ_HOST_DEVICE float from_code(float code, Affine affine) {
  return (code + affine.zero_point) / affine.scale;
}

SQ_HOST_DEVICE float clamp_code(float code, CodeRange range) {
  return code < range.lo ? range.lo : (code > range.hi ? range.hi : code);
}

// Section 2: stage E. The error of a rounded element is rounded - x, also where x lies outside the
// code range.
SQ_HOST_DEVICE float round_element(float x, CodeRange range, Rounding rounding) {
  if (rounding == Rounding::kCurrent) return rintf(x);
  const float clamped = clamp_code(x, range);
  const float even = rintf(clamped);
  return clamped - even == 0.5f ? even + 1.0f
                                : even;  // half up differs from half to even in this case alone
}

// Section 2, for an `x` that rounds to a code of the range: its code and error, as round_element
// gives them. Adding 1.5 * 2^23 leaves no bit for a fraction, and the integer in the lowest bits.
struct InsideElement {
  float error;
  std::uint32_t code;  // the lowest byte is the code, the others are not for use
};

template <Rounding kRounding>
SQ_HOST_DEVICE InsideElement round_inside(float x) {
  constexpr float kNoFraction = 12582912.0f;
  float shifted = x + kNoFraction;
  float error = (shifted - kNoFraction) - x;
  if (kRounding == Rounding::kPaper && error == -0.5f) {  // half up
    shifted += 1.0f;
    error = 0.5f;
  }
  std::uint32_t bits = 0;
  memcpy(&bits, &shifted, sizeof bits);
  return {error, bits};
}

// Whether every x of [lowest, highest] rounds to a code of the range. |error| is then at most 0.5,
// and an element may flip while its code, not only its x, is short of the range's end.
SQ_HOST_DEVICE bool rounds_inside(float lowest, float highest, CodeRange range) {
  return rintf(lowest) >= range.lo && rintf(highest) <= range.hi;
}

// Section 2: may this element move one step up (or down)? Its priority is then |error|.
SQ_HOST_DEVICE bool can_flip(float x, float error, bool up, CodeRange range) {
  return up ? (error < 0.0f && x < range.hi) : (error > 0.0f && x > range.lo);
}

SQ_HOST_DEVICE float error_after_flip(float error, bool up) { return error + (up ? 1.0f : -1.0f); }

// Section 3: sums of errors are integers, in units of 2^-26 of a code step, so that their order
// does not matter.
inline constexpr int kFixedBits = 26;
inline constexpr float kFixedScale = static_cast<float>(1 << kFixedBits);

SQ_HOST_DEVICE std::int64_t to_fixed(float error) {
  return static_cast<std::int64_t>(error * kFixedScale);
}

// The same for |error| <= 0.5: up to 63 of them can be added in 32 bits.
SQ_HOST_DEVICE std::int32_t to_fixed_inside(float error) {
  return static_cast<std::int32_t>(error * kFixedScale);
}

// What a sum of errors asks for: `count` flips up or down. enough: they make good for the whole sum
// or more.
struct FlipPlan {
  std::int64_t count;
  bool up;
  bool enough;
};

// Int: 64 bits, or 32 for a sum of at most 62 errors of at most 0.5.
template <class Int>
SQ_HOST_DEVICE FlipPlan plan_flips(Int fixed_sum) {
  const bool up = fixed_sum < 0;
  const Int magnitude = up ? -fixed_sum : fixed_sum;
  const Int odd = (magnitude >> kFixedBits) & 1;  // round half to even
  const Int count = (magnitude + (Int{1} << (kFixedBits - 1)) - 1 + odd) >> kFixedBits;
  return {count, up, (count << kFixedBits) >= magnitude};
}

// Flips go by descending key: the larger priority first, of equal ones the lower index. priority >=
// 0.
SQ_HOST_DEVICE std::uint64_t flip_key(float priority, std::uint32_t index) {
  std::uint32_t bits = 0;
  memcpy(&bits, &priority, sizeof bits);
  return (static_cast<std::uint64_t>(bits) << 32) | static_cast<std::uint32_t>(~index);
}

SQ_HOST_DEVICE std::uint32_t flip_key_index(std::uint64_t key) {
  return ~static_cast<std::uint32_t>(key);
}

}  // namespace squant::quant
