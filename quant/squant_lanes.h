// The inner loops of squant_cpu, compiled once per instruction set from quant/squant_lanes_impl.h.
#pragma once

#include <cstdint>

#include "quant/numerics.h"

namespace squant::quant {

// Instruction sets, each with loops of its own; kScalar is quant/squant_row.cc alone.
// k128: four lanes, what every build target has (SSE2 on x86-64, NEON on ARM).
enum class Simd : std::uint8_t { kScalar, k128, kAvx2, kAvx512 };

// Errors in the vector loops stay within this magnitude (a channel where they may not is left to
// squant_row), so the fixed-point errors of up to kMaxLaneKernel elements fit an int32 sum.
inline constexpr float kMaxLaneError = 0.625f;
inline constexpr int kMaxLaneKernel = 50;

struct RowRange {
  float min;
  float max;
  bool finite;
};

// Consecutive weight kernels of one tensor, beginning at the first kernel of an output channel.
struct KernelStrip {
  const float* weights;  // [num_kernels, kernel]
  std::int8_t* codes;    // [num_kernels, kernel], written
  const Affine* affine;  // of each output channel; {0, 0} skips a channel
  std::int64_t num_kernels;
  std::int64_t in;  // kernels per output channel
  int kernel;       // 2 .. kMaxLaneKernel
  CodeRange range;
  Rounding rounding;
  // For stage C; written up to the next multiple of the lanes. The sum of errors that K left, fixed
  // point; the error of the one element that C may flip, 0 for none; that element's place in its
  // kernel, + kUndo if K flipped it.
  std::int32_t* residual;
  float* named_error;
  std::int32_t* named_index;
};
inline constexpr std::int32_t kUndo = 1 << 16;

struct LaneLoops {
  RowRange (*row_range)(const float* values, std::int64_t size);
  // Stage E over one channel: codes, errors (with room up to the next multiple of the lanes);
  // returns the errors' sum.
  std::int64_t (*round_row)(const float* weights, std::int64_t size, Affine affine, CodeRange range,
                            Rounding rounding, std::int8_t* codes, float* errors);
  // Stages E and K over many kernels.
  void (*fix_kernels)(const KernelStrip& strip);
  // Errors that ask for a flip in the given direction with |error| >= threshold (> 0): how many,
  // and their keys.
  std::int64_t (*count_flips)(const float* errors, std::int64_t size, bool up, float threshold);
  std::int64_t (*collect_flips)(const float* errors, std::int64_t size, bool up, float threshold,
                                std::uint64_t* keys);
};

// "scalar", "128", "avx2", "avx512".
const char* simd_name(Simd simd);
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
