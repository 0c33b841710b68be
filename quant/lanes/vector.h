// Vectors of SQ_LANES floats or integers. Part of quant/lanes/impl.h.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "quant/lanes/lanes.h"

#if defined(__clang__)
#define SQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SQ_UNROLL _Pragma("GCC unroll 16")
#endif

namespace squant::quant {
namespace {

constexpr int kLanes = SQ_LANES;
typedef float Floats __attribute__((vector_size(4 * SQ_LANES)));
typedef std::int32_t Ints __attribute__((vector_size(4 * SQ_LANES)));
typedef std::int8_t Bytes __attribute__((vector_size(SQ_LANES)));
using LaneSequence = std::make_integer_sequence<int, kLanes>;
constexpr std::int32_t kSignBit = INT32_MIN;

template <class To, class From>
SQ_HOST_DEVICE To load_as(const From* from) {
  To to;
  __builtin_memcpy(&to, from, sizeof to);
  return to;
}
SQ_HOST_DEVICE Floats load(const float* from) { return load_as<Floats>(from); }
template <class Vector>
SQ_HOST_DEVICE void store(void* to, Vector vector) {
  __builtin_memcpy(to, &vector, sizeof vector);
}

SQ_HOST_DEVICE Floats broadcast(float value) { return value - Floats{}; }
SQ_HOST_DEVICE Ints broadcast(std::int32_t value) { return value - Ints{}; }
SQ_HOST_DEVICE Ints bits_of(Floats floats) { return load_as<Ints>(&floats); }
SQ_HOST_DEVICE Floats floats_of(Ints bits) { return load_as<Floats>(&bits); }
template <class Vector>
SQ_HOST_DEVICE Vector min_of(Vector a, Vector b) {
  return a < b ? a : b;
}
template <class Vector>
SQ_HOST_DEVICE Vector max_of(Vector a, Vector b) {
  return a > b ? a : b;
}
template <int... kLane>
SQ_HOST_DEVICE Ints make_lane_numbers(std::integer_sequence<int, kLane...>) {
  return Ints{kLane...};
}
SQ_HOST_DEVICE Ints lane_numbers() { return make_lane_numbers(LaneSequence{}); }

SQ_HOST_DEVICE std::uint32_t first_bits(std::int64_t count) { return (1u << count) - 1; }

// The first `count` lanes from memory, 0 in the others; and back.
SQ_HOST_DEVICE Floats load_first(const float* from, std::int64_t count) {
#if defined(__AVX512F__) && SQ_LANES == 16
  const __m512 to = _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_bits(count)), from);
  return load_as<Floats>(&to);
#else
  float to[kLanes] = {};
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
  return load(to);
#endif
}
SQ_HOST_DEVICE Bytes load_first(const std::int8_t* from, std::int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__) && SQ_LANES == 16
  const __m128i to = _mm_maskz_loadu_epi8(static_cast<__mmask16>(first_bits(count)), from);
  return load_as<Bytes>(&to);
#else
  std::int8_t to[kLanes] = {};
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
  return load_as<Bytes>(to);
#endif
}
SQ_HOST_DEVICE void store_first(std::int8_t* to, Bytes bytes, std::int64_t count) {
#if defined(__AVX512BW__) && defined(__AVX512VL__) && SQ_LANES == 16
  _mm_mask_storeu_epi8(to, static_cast<__mmask16>(first_bits(count)), load_as<__m128i>(&bytes));
#else
  std::int8_t from[kLanes];
  store(from, bytes);
  for (std::int64_t lane = 0; lane < count; ++lane) to[lane] = from[lane];
#endif
}

// One bit per lane whose mask is -1.
SQ_HOST_DEVICE std::uint32_t mask_bits(Ints mask) {
#if defined(__AVX512DQ__) && SQ_LANES == 16
  return _mm512_movepi32_mask(load_as<__m512i>(&mask));
#elif defined(__AVX2__) && SQ_LANES == 8
  return static_cast<std::uint32_t>(_mm256_movemask_ps(load_as<__m256>(&mask)));
#elif defined(__x86_64__) && SQ_LANES == 4
  return static_cast<std::uint32_t>(_mm_movemask_ps(load_as<__m128>(&mask)));
#else
  std::uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    bits |= static_cast<std::uint32_t>(mask[lane] & 1) << lane;
  return bits;
#endif
}

SQ_HOST_DEVICE std::uint32_t mask_at_least(Ints a, Ints b) {
#if defined(__AVX512F__) && SQ_LANES == 16
  return _mm512_cmpge_epi32_mask(load_as<__m512i>(&a), load_as<__m512i>(&b));
#else
  return mask_bits(a >= b);
#endif
}

// One bit per byte that differs from `value`.
SQ_HOST_DEVICE std::uint32_t mask_differing(Bytes bytes, std::int8_t value) {
#if defined(__x86_64__)
  __m128i all = _mm_setzero_si128();
  __builtin_memcpy(&all, &bytes, sizeof bytes);
  const __m128i equal = _mm_cmpeq_epi8(all, _mm_set1_epi8(value));
  return ~static_cast<std::uint32_t>(_mm_movemask_epi8(equal)) & first_bits(kLanes);
#else
  std::uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    bits |= static_cast<std::uint32_t>(bytes[lane] != value) << lane;
  return bits;
#endif
}

#if defined(__AVX512F__) && SQ_LANES == 16
#define SQ_HAS_COMPRESS 1
// The lanes whose bit is set, in front; what stands behind them is not specified.
SQ_HOST_DEVICE Ints compress(Ints from, std::uint32_t mask) {
  const __m512i to =
      _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), load_as<__m512i>(&from));
  return load_as<Ints>(&to);
}
#elif defined(__AVX2__) && SQ_LANES == 8
#define SQ_HAS_COMPRESS 1
// For each mask the numbers of the lanes whose bit is set, a byte each, the first one lowest.
struct SetLanes {
  std::uint64_t of_mask[256];
};
constexpr SetLanes make_set_lanes() {
  SetLanes lanes{};
  for (std::uint32_t mask = 0; mask < 256; ++mask) {
    int found = 0;
    for (std::uint32_t lane = 0; lane < 8; ++lane) {
      if ((mask >> lane & 1) != 0) lanes.of_mask[mask] |= std::uint64_t{lane} << (8 * found++);
    }
  }
  return lanes;
}
constexpr SetLanes kSetLanes = make_set_lanes();
SQ_HOST_DEVICE Ints compress(Ints from, std::uint32_t mask) {
  const __m128i bytes = _mm_cvtsi64_si128(static_cast<std::int64_t>(kSetLanes.of_mask[mask]));
  const __m256i to =
      _mm256_permutevar8x32_epi32(load_as<__m256i>(&from), _mm256_cvtepu8_epi32(bytes));
  return load_as<Ints>(&to);
}
#else
#define SQ_HAS_COMPRESS 0
#endif

// Lane l gets lane l xor kDistance.
template <int kDistance, class Vector, int... kLane>
SQ_HOST_DEVICE Vector exchange(Vector vector, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(vector, vector, (kLane ^ kDistance)...);
}
// Combines all lanes in log2(kLanes) steps.
template <class Vector, class Combine>
SQ_HOST_DEVICE auto reduce(Vector vector, Combine combine) {
  if constexpr (kLanes > 8) vector = combine(vector, exchange<8>(vector, LaneSequence{}));
  if constexpr (kLanes > 4) vector = combine(vector, exchange<4>(vector, LaneSequence{}));
  vector = combine(vector, exchange<2>(vector, LaneSequence{}));
  vector = combine(vector, exchange<1>(vector, LaneSequence{}));
  return vector[0];
}
SQ_HOST_DEVICE float min_lane(Floats v) {
  return reduce(v, [](Floats a, Floats b) { return min_of(a, b); });
}
SQ_HOST_DEVICE float max_lane(Floats v) {
  return reduce(v, [](Floats a, Floats b) { return max_of(a, b); });
}
SQ_HOST_DEVICE std::int32_t or_lanes(Ints v) {
  return reduce(v, [](Ints a, Ints b) { return a | b; });
}
// The sum of lanes of any magnitude: upper and lower halves apart, so that int32 holds both.
SQ_HOST_DEVICE std::int64_t sum_lanes(Ints v) {
  const auto add = [](Ints a, Ints b) { return a + b; };
  return static_cast<std::int64_t>(reduce(v >> 16, add)) * 65536 + reduce(v & 0xFFFF, add);
}

// Asks for the cache lines of `count` floats a chunk further on: what the next pass over memory
// will read. The address may lie behind the tensor; asking is harmless.
SQ_HOST_DEVICE void prefetch_ahead(const float* at, std::int64_t count) {
  constexpr std::int64_t kLine = 16;
  const auto address = reinterpret_cast<std::uintptr_t>(at) + 8192 * sizeof(float);
  for (std::int64_t i = 0; i < count; i += kLine) {
    __builtin_prefetch(
        reinterpret_cast<const void*>(address + static_cast<std::uintptr_t>(i) * sizeof(float)), 0,
        2);
  }
}

}  // namespace
}  // namespace squant::quant
