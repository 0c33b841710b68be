// The inner loops of squant_cpu, compiled once per instruction set from quant/lanes/impl.h.
#pragma once

#include <cstdint>

#include "quant/numerics.h"

namespace squant::quant {

// Instruction sets, each with loops of its own; kScalar is quant/squant_row.cc alone.
// k128: four lanes, what every build target has (SSE2 on x86-64, NEON on ARM).
enum class Simd : std::uint8_t { kScalar, k128, kAvx2, kAvx512 };

// "scalar", "128", "avx2", "avx512".
const char* simd_name(Simd simd);

// Buffers that the loops write have room for this many elements more than asked for.
inline constexpr std::int64_t kMaxLanes = 16;

// Errors in the vector loops stay within this magnitude (a channel where they may not is left to
// squant_row), so the fixed-point errors of up to kMaxLaneKernel elements fit an int32 sum.
inline constexpr float kMaxLaneError = 0.625f;
inline constexpr std::int64_t kMaxLaneKernel = 50;

// Consecutive output channels of one tensor.
struct LaneRows {
  const float* weights;     // [num_rows, in, kernel]
  std::int8_t* codes;       // [num_rows, in, kernel], written
  const float* scale;       // [num_rows] and kMaxLanes more; 0, with zero point 0, skips a channel
  const float* zero_point;  // [num_rows] and kMaxLanes more
  std::int64_t num_rows;
  std::int64_t in;
  std::int64_t kernel;
  CodeRange range;
  Rounding rounding;
  bool clamp;  // some x may round to a code outside the range

  std::int64_t row_size() const { return in * kernel; }
};

// What find_ranges saw in any of its channels.
struct RangeFindings {
  bool broken;  // a weight that is not finite, or a range that float32 cannot hold; nothing else is
                // set then
  bool outside;  // a channel whose errors may exceed kMaxLaneError
  bool clamp;    // LaneRows::clamp
};
struct RangeOutputs {
  float* scale;            // [num_rows]
  float* zero_point;       // [num_rows]
  float* lane_scale;       // [num_rows]; as scale, but 0 for a channel outside
  float* lane_zero_point;  // [num_rows]
};

// What stage K leaves of each kernel to stage C, [num_rows, in] and kMaxLanes more.
struct KernelOutputs {
  std::int32_t* residual;     // the sum of its errors, fixed point
  float* named_error;         // the error of the one element that C may flip; 0 for none
  std::int32_t* named_index;  // that element's place in its kernel; + kUndo if K flipped it
};
inline constexpr std::int32_t kUndo = 1 << 16;

// What stage C starts from: the errors of the elements that it may flip, 0 for those it may not.
struct ChannelInputs {
  const float* errors;  // [num_rows, size]
  const std::int32_t*
      named_index;  // as above, or nullptr where K did not run: error i is element i's
  std::int64_t size;
  const std::int64_t* sums;  // [num_rows], of all errors, fixed point
  std::int32_t* places;      // room for `size` and 2 * kMaxLanes more, as the next
  std::int32_t* priorities;
};

// The errors of elements, in lanes that do not wait for each other: lane l has every
// kErrorLanes-th one from the l-th on.
inline constexpr std::int64_t kErrorLanes = 8;
struct ElementErrors {
  double squared[kErrorLanes] = {};  // sums of squared errors
  double sum[kErrorLanes] = {};
  double largest[kErrorLanes] = {};  // magnitudes
};

struct LaneLoops {
  // Section 1 of ALGORITHM.md.
  RangeFindings (*find_ranges)(const float* weights, std::int64_t num_rows, std::int64_t row_size,
                               int bits, const RangeOutputs& out);
  // Stage E: codes, and where `errors` is no nullptr the errors [num_rows, row_size] and kMaxLanes
  // more, and their sums [num_rows].
  void (*round_elements)(const LaneRows& rows, float* errors, std::int64_t* sums);
  // Stages E and K, for kernels of 2 .. kMaxLaneKernel elements.
  void (*fix_kernels)(const LaneRows& rows, const KernelOutputs& out);
  // sums [num_rows] of the residuals.
  void (*sum_residuals)(const std::int32_t* residual, std::int64_t num_rows, std::int64_t in,
                        std::int64_t* sums);
  // Stage C.
  void (*fix_channels)(const LaneRows& rows, const ChannelInputs& channels);
  // The errors of finished codes; `size` is a multiple of kErrorLanes. Every instruction set gives
  // the same sums.
  void (*measure_elements)(const float* weights, const std::int8_t* codes, std::int64_t size,
                           Affine affine, ElementErrors& errors);
};

// The loops of an instruction set; nullptr for kScalar and where this build or this machine lacks
// it.
const LaneLoops* lane_loops(Simd simd);
// The widest that this machine has. SQUANT_SIMD=scalar|128|avx2|avx512 in the environment asks for
// another one.
Simd best_simd();

extern const LaneLoops kLaneLoops128;
#if defined(__x86_64__)
extern const LaneLoops kLaneLoopsAvx2;
extern const LaneLoops kLaneLoopsAvx512;
#endif

}  // namespace squant::quant
