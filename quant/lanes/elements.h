// Section 2: stage E. Part of quant/lanes/impl.h.
#pragma once

#include "quant/lanes/vector.h"

namespace squant::quant {
namespace {

// Adding 1.5 * 2^23 rounds half to even where |x| < 2^22: the sum's bits are kRoundMagicBits + the
// integer.
constexpr float kRoundMagic = 12582912.0f;
constexpr std::int32_t kRoundMagicBits = 0x4B400000;

struct Rounded {
  Ints code;     // kRoundMagicBits + code: the low byte is the code's
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
    return {bits_of(magic) - half, (half ? even + 1.0f : even) - x};
  } else {
    const Floats magic = x + kRoundMagic;
    return {bits_of(magic), (magic - kRoundMagic) - x};
  }
}

SQ_HOST_DEVICE Ints to_fixed_lanes(Floats error) {
  return __builtin_convertvector(error * kFixedScale, Ints);
}

SQ_HOST_DEVICE Ints clamp_lanes(Ints code, CodeRange range) {
  const Ints lo = broadcast(kRoundMagicBits + static_cast<std::int32_t>(range.lo));
  const Ints hi = broadcast(kRoundMagicBits + static_cast<std::int32_t>(range.hi));
  return min_of(max_of(code, lo), hi);
}

template <bool kPaper, bool kKeepErrors>
std::int64_t round_row(const LaneRows& rows, std::int64_t row, float* errors) {
  const std::int64_t size = rows.row_size();
  const float* const weights = rows.weights + row * size;
  std::int8_t* const codes = rows.codes + row * size;
  const Floats scale = broadcast(rows.scale[row]);
  const Floats zero_point = broadcast(rows.zero_point[row]);
  constexpr std::int64_t kBlock =
      32 * kLanes;  // so many errors of up to kMaxLaneError fit an int32 lane
  std::int64_t sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kBlock) {
    const std::int64_t end = begin + kBlock < size ? begin + kBlock : size;
    Ints block_sum = {};
    std::int64_t at = begin;
    for (; at + kLanes <= end; at += kLanes) {
      Rounded rounded = round_lanes<kPaper>(load(weights + at), scale, zero_point, rows.range);
      prefetch_ahead(weights + at, kLanes);
      if (!kPaper && rows.clamp) rounded.code = clamp_lanes(rounded.code, rows.range);
      store(codes + at, __builtin_convertvector(rounded.code, Bytes));
      if constexpr (kKeepErrors) {
        block_sum += to_fixed_lanes(rounded.error);
        store(errors + at, rounded.error);
      }
    }
    if (const std::int64_t rest = end - at; rest > 0) {
      Rounded rounded =
          round_lanes<kPaper>(load_first(weights + at, rest), scale, zero_point, rows.range);
      store_first(codes + at, __builtin_convertvector(clamp_lanes(rounded.code, rows.range), Bytes),
                  rest);
      if constexpr (kKeepErrors) {
        const Ints valid = lane_numbers() < static_cast<std::int32_t>(rest);
        rounded.error = valid ? rounded.error : Floats{};
        block_sum += to_fixed_lanes(rounded.error);
        store(errors + at, rounded.error);
      }
    }
    if constexpr (kKeepErrors) sum += sum_lanes(block_sum);
  }
  return sum;
}

template <bool kPaper>
void round_elements_as(const LaneRows& rows, float* errors, std::int64_t* sums) {
  for (std::int64_t row = 0; row < rows.num_rows; ++row) {
    if (errors == nullptr) {
      round_row<kPaper, false>(rows, row, nullptr);
    } else {
      sums[row] = round_row<kPaper, true>(rows, row, errors + row * rows.row_size());
    }
  }
}

void round_elements(const LaneRows& rows, float* errors, std::int64_t* sums) {
  return rows.rounding == Rounding::kPaper ? round_elements_as<true>(rows, errors, sums)
                                           : round_elements_as<false>(rows, errors, sums);
}

}  // namespace
}  // namespace squant::quant
