// Errors of finished codes, in double. Part of quant/lanes/impl.h.
#pragma once

#include "quant/lanes/vector.h"

namespace squant::quant {
namespace {

// kErrorLanes doubles in as many vectors as they fill: the sums are the same whatever SQ_LANES is.
constexpr int kDoubles = kLanes >= 8 ? 4 : 2;
constexpr int kVectors = static_cast<int>(kErrorLanes) / kDoubles;
typedef double Doubles __attribute__((vector_size(8 * kDoubles)));
typedef float FloatsOfDoubles __attribute__((vector_size(4 * kDoubles)));
typedef std::int32_t IntsOfDoubles __attribute__((vector_size(4 * kDoubles)));
typedef std::int8_t BytesOfDoubles __attribute__((vector_size(kDoubles)));

SQ_HOST_DEVICE IntsOfDoubles load_codes(const std::int8_t* from) {
#if defined(__AVX2__) && SQ_LANES >= 8
  const __m128i to = _mm_cvtepi8_epi32(_mm_cvtsi32_si128(load_as<std::int32_t>(from)));
  return load_as<IntsOfDoubles>(&to);
#else
  return __builtin_convertvector(load_as<BytesOfDoubles>(from), IntsOfDoubles);
#endif
}

SQ_HOST_DEVICE Doubles magnitude(Doubles v) { return v < 0.0 ? -v : v; }

void measure_elements(const float* weights, const std::int8_t* codes, std::int64_t size,
                      Affine affine, ElementErrors& errors) {
  Doubles squared[kVectors] = {};
  Doubles sum[kVectors] = {};
  Doubles largest[kVectors] = {};
  for (std::int64_t at = 0; at < size; at += kErrorLanes) {
    SQ_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      const auto x =
          load_as<FloatsOfDoubles>(weights + at + i * kDoubles) * affine.scale - affine.zero_point;
      const Doubles code = __builtin_convertvector(load_codes(codes + at + i * kDoubles), Doubles);
      const Doubles error = code - __builtin_convertvector(x, Doubles);
      squared[i] += error * error;
      sum[i] += error;
      largest[i] = max_of(magnitude(error), largest[i]);
    }
  }
  for (int i = 0; i < kVectors; ++i) {
    store(errors.squared + i * kDoubles, squared[i]);
    store(errors.sum + i * kDoubles, sum[i]);
    store(errors.largest + i * kDoubles, largest[i]);
  }
}

}  // namespace
}  // namespace squant::quant
