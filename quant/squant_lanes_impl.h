// The vector loops of squant_cpu, in GCC's and clang's vector extension: one source for every
// instruction set. A .cc file defines SQ_LANES (4, 8 or 16 floats) and is compiled with the flags
// of its instruction set. All is in an anonymous namespace and nothing of the standard library is
// called: an inline function compiled here for AVX-512 must never be the copy that the linker keeps
// for the whole program.
#include <cstdint>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "quant/squant_lanes.h"

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
constexpr std::int32_t kSignBit = INT32_MIN;
// Adding and subtracting 1.5 * 2^23 rounds half to even where |x| < 2^22; the sum's low bits are
// the integer.
constexpr float kRoundMagic = 12582912.0f;
constexpr std::int32_t kRoundMagicBits = 0x4B400000;

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
SQ_HOST_DEVICE Floats min_of(Floats a, Floats b) { return a < b ? a : b; }
SQ_HOST_DEVICE Floats max_of(Floats a, Floats b) { return a > b ? a : b; }
SQ_HOST_DEVICE Ints clamp(Ints value, Ints lo, Ints hi) {
  value = value < lo ? lo : value;
  return value > hi ? hi : value;
}
SQ_HOST_DEVICE Ints lane_numbers() {
  Ints lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
  return lanes;
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

SQ_HOST_DEVICE std::int64_t sum_lanes(Ints values) {
  std::int64_t sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += values[lane];
  return sum;
}

// ---- stage E ----

struct Rounded {
  Ints code;     // not clamped yet
  Floats error;  // code - x
};

// round_element() of numerics.h on every lane, for |x| far below 2^22.
template <bool kPaper>
SQ_HOST_DEVICE Rounded round_lanes(Floats weights, Floats scale, Floats zero_point,
                                   CodeRange range) {
  const Floats x = weights * scale - zero_point;
  if constexpr (kPaper) {
    const Floats clamped = min_of(max_of(x, broadcast(range.lo)), broadcast(range.hi));
    const Floats magic = clamped + kRoundMagic;
    const Floats even = magic - kRoundMagic;
    const Ints half = (clamped - even) == 0.5f;  // -1: half up differs from half to even
    return {bits_of(magic) - kRoundMagicBits - half, (half ? even + 1.0f : even) - x};
  } else {
    const Floats magic = x + kRoundMagic;
    return {bits_of(magic) - kRoundMagicBits, (magic - kRoundMagic) - x};
  }
}

SQ_HOST_DEVICE Ints to_fixed_lanes(Floats error) {
  return __builtin_convertvector(error * kFixedScale, Ints);
}

RowRange row_range(const float* values, std::int64_t size) {
  float min = values[0];
  float max = values[0];
  std::int64_t begin = 0;
  std::int32_t broken_any = 0;  // the bits of v - v: 0 for a finite v, else those of a NaN
  if (size >= kLanes) {
    constexpr int kWays = 4;  // independent chains hide the latency of min and max
    Floats mins[kWays];
    Floats maxs[kWays];
    Ints broken = {};
    for (int way = 0; way < kWays; ++way) mins[way] = maxs[way] = load(values);
    for (; begin + kWays * kLanes <= size; begin += kWays * kLanes) {
      SQ_UNROLL
      for (int way = 0; way < kWays; ++way) {
        const Floats v = load(values + begin + way * kLanes);
        mins[way] = min_of(v, mins[way]);
        maxs[way] = max_of(v, maxs[way]);
        broken |= bits_of(v - v);
      }
    }
    while (begin < size) {  // the last vector overlaps its neighbour: that changes no minimum
      if (begin + kLanes > size) begin = size - kLanes;
      const Floats v = load(values + begin);
      mins[0] = min_of(v, mins[0]);
      maxs[0] = max_of(v, maxs[0]);
      broken |= bits_of(v - v);
      begin += kLanes;
    }
    const Floats all_min = min_of(min_of(mins[0], mins[1]), min_of(mins[2], mins[3]));
    const Floats all_max = max_of(max_of(maxs[0], maxs[1]), max_of(maxs[2], maxs[3]));
    for (int lane = 0; lane < kLanes; ++lane) {
      min = all_min[lane] < min ? all_min[lane] : min;
      max = all_max[lane] > max ? all_max[lane] : max;
      broken_any |= broken[lane];
    }
    return {min, max, broken_any == 0};
  }
  bool finite = true;
  for (; begin < size; ++begin) {
    const float v = values[begin];
    min = v < min ? v : min;
    max = v > max ? v : max;
    finite &= (v - v == 0.0f);
  }
  return {min, max, finite};
}

template <bool kPaper>
std::int64_t round_row_as(const float* weights, std::int64_t size, Affine affine, CodeRange range,
                          std::int8_t* codes, float* errors) {
  const Floats scale = broadcast(affine.scale);
  const Floats zero_point = broadcast(affine.zero_point);
  const Ints lo = broadcast(static_cast<std::int32_t>(range.lo));
  const Ints hi = broadcast(static_cast<std::int32_t>(range.hi));
  constexpr std::int64_t kBlock =
      32 * kLanes;  // so many errors of up to kMaxLaneError fit an int32 lane
  std::int64_t sum = 0;
  std::int64_t at = 0;
  while (at + kLanes <= size) {
    const std::int64_t end = at + kBlock < size ? at + kBlock : size;
    Ints block_sum = {};
    for (; at + kLanes <= end; at += kLanes) {
      const Rounded rounded = round_lanes<kPaper>(load(weights + at), scale, zero_point, range);
      block_sum += to_fixed_lanes(rounded.error);
      store(errors + at, rounded.error);
      store(codes + at, __builtin_convertvector(clamp(rounded.code, lo, hi), Bytes));
    }
    sum += sum_lanes(block_sum);
  }
  if (const std::int64_t rest = size - at; rest > 0) {
    float padded[kLanes] = {};
    std::int8_t padded_codes[kLanes];
    for (std::int64_t i = 0; i < rest; ++i) padded[i] = weights[at + i];
    const Ints valid = lane_numbers() < static_cast<std::int32_t>(rest);
    Rounded rounded = round_lanes<kPaper>(load(padded), scale, zero_point, range);
    rounded.error = valid ? rounded.error : Floats{};
    sum += sum_lanes(to_fixed_lanes(rounded.error));
    store(errors + at, rounded.error);
    store(padded_codes, __builtin_convertvector(clamp(rounded.code, lo, hi), Bytes));
    for (std::int64_t i = 0; i < rest; ++i) codes[at + i] = padded_codes[i];
  }
  return sum;
}

std::int64_t round_row(const float* weights, std::int64_t size, Affine affine, CodeRange range,
                       Rounding rounding, std::int8_t* codes, float* errors) {
  return rounding == Rounding::kPaper
             ? round_row_as<true>(weights, size, affine, range, codes, errors)
             : round_row_as<false>(weights, size, affine, range, codes, errors);
}

// ---- between memory order and one lane per kernel ----

// kLanes kernels of K elements are K vectors in memory. transpose() turns them into K vectors, the
// j-th of which holds element j of every kernel. K is odd, so it is prime to the number of lanes:
// element j of the kernels lies in kLanes different lanes, and one blend of the K vectors, then one
// permutation, brings it together. In the order of U below, lane l of the blend for j comes from
// U[(j - l) mod K]: all K blends together are a rotation of each lane's column by (l mod K), which
// is made of rotations by 1, 2, 4, 8 like a barrel shifter.
template <int K>
struct Transpose {
  static_assert(K % 2 == 1 && K < 16);

  // The factor's inverse modulo `modulus`.
  static constexpr int inverse(int factor, int modulus) {
    for (int i = 1; i < modulus; ++i) {
      if (factor * i % modulus == 1 % modulus) return i;
    }
    return 0;
  }
  static constexpr int kLanesInverse = inverse(kLanes % K, K);
  static constexpr int kKernelInverse = inverse(K % kLanes, kLanes);

  static constexpr int mod(int value, int modulus) { return (value % modulus + modulus) % modulus; }

  // Lanes with this bit in (lane mod K).
  template <int... kLane>
  static SQ_HOST_DEVICE Ints lanes_with(int bit, std::integer_sequence<int, kLane...>) {
    return Ints{((kLane % K) & bit ? -1 : 0)...};
  }
  // Lane i gets lane (K * i + j) of `vector`, or, inverse, lane (K * i + j) gets lane i.
  template <int kElement, int... kLane>
  static SQ_HOST_DEVICE Ints gather(Ints vector, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(vector, vector, mod(K * kLane + kElement, kLanes)...);
  }
  template <int kElement, int... kLane>
  static SQ_HOST_DEVICE Ints scatter(Ints vector, std::integer_sequence<int, kLane...>) {
    return __builtin_shufflevector(vector, vector,
                                   mod(kKernelInverse * (kLane - kElement), kLanes)...);
  }
  using Lanes = std::make_integer_sequence<int, kLanes>;

  // Rotates lane l's column of K vectors by (l mod K), one way or the other.
  static SQ_HOST_DEVICE void rotate(Ints (&u)[K], bool forward) {
    SQ_UNROLL
    for (int bit = 1; bit < K && bit < kLanes; bit *= 2) {
      const Ints moving = lanes_with(bit, Lanes{});
      Ints rotated[K];
      SQ_UNROLL
      for (int j = 0; j < K; ++j)
        rotated[j] = moving ? u[mod(forward ? j - bit : j + bit, K)] : u[j];
      SQ_UNROLL
      for (int j = 0; j < K; ++j) u[j] = rotated[j];
    }
  }
  template <int... kElement>
  static SQ_HOST_DEVICE void gather_all(Ints (&u)[K], std::integer_sequence<int, kElement...>) {
    ((u[kElement] = gather<kElement>(u[kElement], Lanes{})), ...);
  }
  template <int... kElement>
  static SQ_HOST_DEVICE void scatter_all(Ints (&u)[K], std::integer_sequence<int, kElement...>) {
    ((u[kElement] = scatter<kElement>(u[kElement], Lanes{})), ...);
  }

  static SQ_HOST_DEVICE void load_kernels(const float* from, Floats (&to)[K]) {
    Ints u[K];
    SQ_UNROLL
    for (int j = 0; j < K; ++j) u[j] = load_as<Ints>(from + kLanesInverse * j % K * kLanes);
    rotate(u, true);
    gather_all(u, std::make_integer_sequence<int, K>{});
    SQ_UNROLL
    for (int j = 0; j < K; ++j) to[j] = floats_of(u[j]);
  }
  static SQ_HOST_DEVICE void store_kernels(Ints (&codes)[K], std::int8_t* to) {
    scatter_all(codes, std::make_integer_sequence<int, K>{});
    rotate(codes, false);
    SQ_UNROLL
    for (int j = 0; j < K; ++j) {
      store(to + kLanesInverse * j % K * kLanes, __builtin_convertvector(codes[j], Bytes));
    }
  }
};

// ---- stage K ----

struct GroupOutputs {
  std::int32_t* residual;
  float* named_error;
  std::int32_t* named_index;
};

// Stages E and K on kLanes kernels, one per lane. kStatic: the elements of a kernel, or 0 for
// `kernel` of them.
template <int kStatic, bool kPaper>
SQ_HOST_DEVICE void fix_group(const float* weights, std::int8_t* codes, Floats scale,
                              Floats zero_point, int kernel, CodeRange range, GroupOutputs out) {
  constexpr int kRoom = kStatic > 0 ? kStatic : kMaxLaneKernel;
  const int size = kStatic > 0 ? kStatic : kernel;
  Floats error[kRoom];
  Ints code[kRoom];
  if constexpr (kStatic > 0) {
    Transpose<kStatic>::load_kernels(weights, error);
  } else {
    for (int j = 0; j < size; ++j) {
      for (int lane = 0; lane < kLanes; ++lane) error[j][lane] = weights[lane * size + j];
    }
  }
  Ints sum = {};
  SQ_UNROLL
  for (int j = 0; j < size; ++j) {
    const Rounded rounded = round_lanes<kPaper>(error[j], scale, zero_point, range);
    code[j] = rounded.code;
    error[j] = rounded.error;
    sum += to_fixed_lanes(rounded.error);
  }

  // plan_flips() of numerics.h. Comparisons give -1 for true.
  const Ints lo = broadcast(static_cast<std::int32_t>(range.lo));
  const Ints hi = broadcast(static_cast<std::int32_t>(range.hi));
  const Ints up = sum < 0;
  const Ints magnitude = (sum ^ up) - up;
  const Ints odd = (magnitude >> kFixedBits) & 1;
  const Ints count = (magnitude + ((1 << (kFixedBits - 1)) - 1) + odd) >> kFixedBits;
  const Ints enough = (count << kFixedBits) >= magnitude;
  const Ints sign = up & kSignBit;
  const Ints limit =
      up ? hi
         : lo;  // an error of this direction at this code is no candidate: x is at or beyond it
  const Ints step = -1 - 2 * up;

  // The bits of a positive float order like the float; what is no candidate is <= 0.
  Ints priority[kRoom];
  SQ_UNROLL
  for (int j = 0; j < size; ++j) priority[j] = code[j] == limit ? Ints{} : bits_of(error[j]) ^ sign;

  // rank: how many flip earlier. Of each pair one does, the first where they are equal.
  Ints rank[kRoom];
  SQ_UNROLL
  for (int j = 0; j < size; ++j) rank[j] = broadcast(size - 1 - j);
  SQ_UNROLL
  for (int i = 0; i < size; ++i) {
    SQ_UNROLL
    for (int j = i + 1; j < size; ++j) {
      const Ints first = priority[i] >= priority[j];
      rank[i] += first;
      rank[j] -= first;
    }
  }
  Ints flips = {};
  SQ_UNROLL
  for (int j = 0; j < size; ++j) {
    rank[j] = priority[j] > 0 ? rank[j] : broadcast(INT32_MAX);
    const Ints flip = rank[j] < count;
    code[j] += flip & step;
    flips -= flip;
  }

  // The element that stage C may flip: the last one flipped, or the next one.
  const Ints wanted = enough ? flips - 1 : count;
  Ints named_priority = {};
  Ints named_index = {};
  SQ_UNROLL
  for (int j = 0; j < size; ++j) {
    const Ints named = rank[j] == wanted;
    named_priority = named ? priority[j] : named_priority;
    named_index = named ? broadcast(j) : named_index;
  }
  const Floats named_error = floats_of(named_priority);
  const Ints undo = enough & (flips > 0);
  store(out.named_error, floats_of(bits_of(undo ? named_error - 1.0f : named_error) ^ sign));
  store(out.named_index, named_index + (undo & kUndo));
  store(out.residual, sum + (flips << kFixedBits) * step);

  SQ_UNROLL
  for (int j = 0; j < size; ++j) code[j] = clamp(code[j], lo, hi);
  if constexpr (kStatic > 0) {
    Transpose<kStatic>::store_kernels(code, codes);
  } else {
    for (int j = 0; j < size; ++j) {
      for (int lane = 0; lane < kLanes; ++lane)
        codes[lane * size + j] = static_cast<std::int8_t>(code[j][lane]);
    }
  }
}

// A group's kernels may belong to several output channels: each lane has its own affine.
struct LaneAffine {
  Floats scale;
  Floats zero_point;
};
SQ_HOST_DEVICE LaneAffine lane_affine(const KernelStrip& strip, std::int64_t first,
                                      std::int64_t valid) {
  std::int64_t channel = first / strip.in;
  std::int64_t left = strip.in - first % strip.in;  // kernels until the next channel
  if (left >= kLanes)
    return {broadcast(strip.affine[channel].scale), broadcast(strip.affine[channel].zero_point)};
  LaneAffine affine = {};
  for (std::int64_t lane = 0; lane < valid; ++lane) {
    if (left == 0) {
      ++channel;
      left = strip.in;
    }
    affine.scale[lane] = strip.affine[channel].scale;
    affine.zero_point[lane] = strip.affine[channel].zero_point;
    --left;
  }
  return affine;
}

template <int kStatic, bool kPaper>
void fix_kernels_as(const KernelStrip& strip) {
  const std::int64_t kernel = strip.kernel;
  std::int64_t at = 0;
  for (; at + kLanes <= strip.num_kernels; at += kLanes) {
    const LaneAffine affine = lane_affine(strip, at, kLanes);
    fix_group<kStatic, kPaper>(
        strip.weights + at * kernel, strip.codes + at * kernel, affine.scale, affine.zero_point,
        strip.kernel, strip.range,
        {strip.residual + at, strip.named_error + at, strip.named_index + at});
  }
  if (const std::int64_t rest = strip.num_kernels - at; rest > 0) {
    float padded[kLanes * kMaxLaneKernel];
    std::int8_t padded_codes[kLanes * kMaxLaneKernel];
    for (std::int64_t i = 0; i < kLanes * kernel; ++i)
      padded[i] = i < rest * kernel ? strip.weights[at * kernel + i] : 0;
    LaneAffine affine = lane_affine(strip, at, rest);
    const Ints valid = lane_numbers() < static_cast<std::int32_t>(rest);
    affine.scale = valid ? affine.scale : Floats{};
    affine.zero_point = valid ? affine.zero_point : Floats{};
    fix_group<kStatic, kPaper>(
        padded, padded_codes, affine.scale, affine.zero_point, strip.kernel, strip.range,
        {strip.residual + at, strip.named_error + at, strip.named_index + at});
    for (std::int64_t i = 0; i < rest * kernel; ++i) strip.codes[at * kernel + i] = padded_codes[i];
  }
}

template <bool kPaper>
void fix_kernels_by_size(const KernelStrip& strip) {
  switch (strip.kernel) {
    case 3:
      return fix_kernels_as<3, kPaper>(strip);
    case 5:
      return fix_kernels_as<5, kPaper>(strip);
    case 7:
      return fix_kernels_as<7, kPaper>(strip);
    case 9:
      return fix_kernels_as<9, kPaper>(strip);
    default:
      return fix_kernels_as<0, kPaper>(strip);
  }
}

void fix_kernels(const KernelStrip& strip) {
  return strip.rounding == Rounding::kPaper ? fix_kernels_by_size<true>(strip)
                                            : fix_kernels_by_size<false>(strip);
}

// ---- stage C ----

// For each vector of errors, calls found(mask, first index, magnitudes' bits); lanes behind the end
// are 0.
template <class Found>
SQ_HOST_DEVICE void scan_flips(const float* errors, std::int64_t size, bool up, float threshold,
                               Found found) {
  const Ints sign = broadcast(up ? kSignBit : 0);
  const Ints least = bits_of(broadcast(threshold));
  std::int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) {
    const Ints priority = load_as<Ints>(errors + at) ^ sign;
    found(priority >= least, at, priority);
  }
  if (at < size) {
    float padded[kLanes] = {};
    for (std::int64_t i = at; i < size; ++i) padded[i - at] = errors[i];
    const Ints priority = load_as<Ints>(padded) ^ sign;
    found(priority >= least, at, priority);
  }
}

std::int64_t count_flips(const float* errors, std::int64_t size, bool up, float threshold) {
  Ints count = {};
  scan_flips(errors, size, up, threshold, [&](Ints mask, std::int64_t, Ints) { count -= mask; });
  return sum_lanes(count);
}

std::int64_t collect_flips(const float* errors, std::int64_t size, bool up, float threshold,
                           std::uint64_t* keys) {
  std::int64_t count = 0;
  scan_flips(errors, size, up, threshold, [&](Ints mask, std::int64_t at, Ints) {
    for (std::uint32_t bits = mask_bits(mask); bits != 0; bits &= bits - 1) {
      const std::int64_t index = at + __builtin_ctz(bits);
      keys[count++] = flip_key(__builtin_fabsf(errors[index]), static_cast<std::uint32_t>(index));
    }
  });
  return count;
}

}  // namespace
}  // namespace squant::quant

// Defines a LaneLoops from the loops above.
#define SQ_DEFINE_LANE_LOOPS(variable) \
  const LaneLoops variable = {row_range, round_row, fix_kernels, count_flips, collect_flips}
