// Section 1: each channel's range, scale and zero point. Part of quant/lanes/impl.h.
#pragma once

#include "quant/lanes/transpose.h"

namespace squant::quant {
namespace {

// Bits that are 0 for a finite value only; v - v is 0 or NaN.
SQ_HOST_DEVICE Ints not_finite(Floats v) { return bits_of(v - v); }

// Smallest and largest weight of one channel of at least kLanes weights.
SQ_HOST_DEVICE void range_of_long_row(const float* weights, std::int64_t size, float& min,
                                      float& max, Ints& broken) {
  constexpr int kWays = 4;  // independent chains hide the latency of min and max
  Floats mins[kWays];
  Floats maxs[kWays];
  SQ_UNROLL
  for (int way = 0; way < kWays; ++way) mins[way] = maxs[way] = load(weights);
  std::int64_t at = 0;
  for (; at + kWays * kLanes <= size; at += kWays * kLanes) {
    SQ_UNROLL
    for (int way = 0; way < kWays; ++way) {
      const Floats v = load(weights + at + way * kLanes);
      mins[way] = min_of(v, mins[way]);
      maxs[way] = max_of(v, maxs[way]);
      broken |= not_finite(v);
    }
  }
  while (at < size) {  // the last vector overlaps its neighbour: that changes no minimum
    if (at + kLanes > size) at = size - kLanes;
    const Floats v = load(weights + at);
    mins[0] = min_of(v, mins[0]);
    maxs[0] = max_of(v, maxs[0]);
    broken |= not_finite(v);
    at += kLanes;
  }
  min = min_lane(min_of(min_of(mins[0], mins[1]), min_of(mins[2], mins[3])));
  max = max_lane(max_of(max_of(maxs[0], maxs[1]), max_of(maxs[2], maxs[3])));
}

SQ_HOST_DEVICE void range_of_short_row(const float* weights, std::int64_t size, float& min,
                                       float& max, Ints& broken) {
  min = max = weights[0];
  for (std::int64_t i = 0; i < size; ++i) {
    min = weights[i] < min ? weights[i] : min;
    max = weights[i] > max ? weights[i] : max;
    broken |= not_finite(broadcast(weights[i]));
  }
}

// Channels of K weights each, such as those of a depthwise convolution: kLanes channels at a time.
// Does as many as fill the lanes and returns their number.
template <int K>
std::int64_t ranges_of_tiny_rows(const float* weights, std::int64_t num_rows, float* min,
                                 float* max, Ints& broken) {
  std::int64_t row = 0;
  for (; row + kLanes <= num_rows; row += kLanes) {
    Floats v[K];
    Transpose<K>::load_kernels(weights + row * K, v);
    Floats mins = v[0];
    Floats maxs = v[0];
    SQ_UNROLL
    for (int j = 0; j < K; ++j) {
      mins = min_of(v[j], mins);
      maxs = max_of(v[j], maxs);
      broken |= not_finite(v[j]);
    }
    store(min + row, mins);
    store(max + row, maxs);
  }
  return row;
}

RangeFindings find_ranges(const float* weights, std::int64_t num_rows, std::int64_t row_size,
                          int bits, const RangeOutputs& out) {
  float* const min = out.lane_scale;  // until they are overwritten below
  float* const max = out.lane_zero_point;
  Ints broken = {};  // stays 0 while all weights are finite
  std::int64_t row = 0;
  switch (row_size) {
    case 3:
      row = ranges_of_tiny_rows<3>(weights, num_rows, min, max, broken);
      break;
    case 5:
      row = ranges_of_tiny_rows<5>(weights, num_rows, min, max, broken);
      break;
    case 7:
      row = ranges_of_tiny_rows<7>(weights, num_rows, min, max, broken);
      break;
    case 9:
      row = ranges_of_tiny_rows<9>(weights, num_rows, min, max, broken);
      break;
    default:
      break;
  }
  for (; row < num_rows; ++row) {
    const float* const at = weights + row * row_size;
    if (row_size >= kLanes) {
      range_of_long_row(at, row_size, min[row], max[row], broken);
    } else {
      range_of_short_row(at, row_size, min[row], max[row], broken);
    }
  }
  if (or_lanes(broken) != 0) return {.broken = true, .outside = false, .clamp = false};

  const CodeRange range = signed_code_range(bits);
  std::int32_t overflow = 0;
  std::int32_t outside = 0;
  std::int32_t clamp = 0;
  for (std::int64_t i = 0; i < num_rows; ++i) {
    const Affine affine = affine_from_range(min[i], max[i], bits);
    // x grows with the weight: these two bound every x, and so every error.
    const float x_min = to_code_units(min[i], affine);
    const float x_max = to_code_units(max[i], affine);
    const std::int32_t fits =
        (x_min >= range.lo - kMaxLaneError) & (x_max <= range.hi + kMaxLaneError);
    overflow |= (affine.scale > 0) & (x_min - x_min == 0) & (x_max - x_max == 0) ? 0 : 1;
    outside |= 1 - fits;
    clamp |= (x_min < range.lo - 0.5f) | (x_max >= range.hi + 0.5f);
    out.scale[i] = affine.scale;
    out.zero_point[i] = affine.zero_point;
    out.lane_scale[i] = fits ? affine.scale : 0.0f;
    out.lane_zero_point[i] = fits ? affine.zero_point : 0.0f;
  }
  return {.broken = overflow != 0, .outside = outside != 0, .clamp = clamp != 0};
}

}  // namespace
}  // namespace squant::quant
