#include "eval/engine/int_conv_sums.h"

#include <algorithm>

#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

// out[position, group] = sum of a group's channels of X.
template <typename Code>
[[gnu::always_inline]] inline void sum_channels(const Code* input, std::int64_t rows,
                                                std::int64_t channels, std::int32_t zero,
                                                std::int32_t* out) {
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int32_t sum = 0;
    for (std::int64_t c = 0; c < channels; ++c) {
      sum += input[row * channels + c];
    }
    out[row] = sum + zero * static_cast<std::int32_t>(channels);
  }
}
SQ_TARGET_CLONES void sum_channels_u8(const std::uint8_t* input, std::int64_t rows,
                                      std::int64_t channels, std::int32_t zero, std::int32_t* out) {
  sum_channels(input, rows, channels, zero, out);
}
SQ_TARGET_CLONES void sum_channels_s8(const std::int8_t* input, std::int64_t rows,
                                      std::int64_t channels, std::int32_t zero, std::int32_t* out) {
  sum_channels(input, rows, channels, zero, out);
}

SQ_TARGET_CLONES void add_row(const std::int32_t* __restrict from, std::int64_t count,
                              std::int32_t* __restrict to) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] += from[i];
  }
}

// Int is wide enough for every intermediate sum: SumMerger decides.
template <typename Raw, typename Int>
struct MergeArguments {
  const Raw* raw;
  const std::int32_t* sums;
  const Int* zero;
  const Int* constant;
  std::int64_t positions, groups, group_outputs, parts;
  float* values;
};

template <typename Raw, typename Int, bool kZero, bool kConstant>
[[gnu::always_inline]] inline void merge_row(const Raw* __restrict raw, Int sum,
                                             const Int* __restrict zero,
                                             const Int* __restrict constant, std::int64_t outputs,
                                             std::int64_t parts, float* __restrict values) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    Int acc = static_cast<Int>(raw[o]);
    for (std::int64_t part = 1; part < parts; ++part) {
      acc += static_cast<Int>(raw[part * outputs + o]);
    }
    if constexpr (kZero) {
      acc += zero[o] * sum;
    }
    if constexpr (kConstant) {
      acc += constant[o];
    }
    values[o] = static_cast<float>(acc);
  }
}

template <typename Raw, typename Int, bool kZero, bool kConstant, std::int64_t kParts>
[[gnu::always_inline]] inline void merge_rows(const MergeArguments<Raw, Int>& a) {
  const std::int64_t outputs = a.group_outputs;
  const std::int64_t parts = kParts == 0 ? a.parts : kParts;
  for (std::int64_t p = 0; p < a.positions; ++p) {
    for (std::int64_t g = 0; g < a.groups; ++g) {
      const std::int64_t row = p * a.groups + g;
      merge_row<Raw, Int, kZero, kConstant>(
          a.raw + row * parts * outputs, kZero ? static_cast<Int>(a.sums[row]) : Int{0},
          kZero ? a.zero + g * outputs : nullptr, kConstant ? a.constant + g * outputs : nullptr,
          outputs, parts, a.values + row * outputs);
    }
  }
}

template <typename Raw, typename Int>
[[gnu::always_inline]] inline void merge_any(const MergeArguments<Raw, Int>& a) {
  if (a.parts == 1 && a.constant == nullptr) {
    merge_rows<Raw, Int, true, false, 1>(a);
  } else if (a.parts == 1 && a.zero == nullptr) {
    merge_rows<Raw, Int, false, true, 1>(a);
  } else if (a.zero == nullptr && a.constant == nullptr) {
    merge_rows<Raw, Int, false, false, 0>(a);
  } else if (a.constant == nullptr) {
    merge_rows<Raw, Int, true, false, 0>(a);
  } else if (a.zero == nullptr) {
    merge_rows<Raw, Int, false, true, 0>(a);
  } else {
    merge_rows<Raw, Int, true, true, 0>(a);
  }
}

SQ_TARGET_CLONES void merge_clones(const MergeArguments<std::int32_t, std::int32_t>& a) {
  merge_any(a);
}
SQ_TARGET_CLONES void merge_clones(const MergeArguments<std::int32_t, std::int64_t>& a) {
  merge_any(a);
}
SQ_TARGET_CLONES void merge_clones(const MergeArguments<float, std::int32_t>& a) { merge_any(a); }
SQ_TARGET_CLONES void merge_clones(const MergeArguments<float, std::int64_t>& a) { merge_any(a); }

SQ_TARGET_CLONES void merge_clones(const MergeArguments<double, std::int32_t>& a) { merge_any(a); }
SQ_TARGET_CLONES void merge_clones(const MergeArguments<double, std::int64_t>& a) { merge_any(a); }

SQ_TARGET_CLONES void to_float(const double* __restrict raw, std::int64_t count,
                               float* __restrict values) {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(raw[i]);
  }
}
SQ_TARGET_CLONES void to_float(const std::int32_t* __restrict raw, std::int64_t count,
                               float* __restrict values) {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>(raw[i]);
  }
}

std::vector<std::int32_t> narrowed(const std::vector<std::int64_t>& values) {
  return std::vector<std::int32_t>(values.begin(), values.end());
}

template <typename T>
const T* data_or_null(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

InputRows input_rows(const IntConvProblem& problem, const Strip& strip) {
  const Window& window = problem.window;
  const std::int64_t begin = strip.first * window.stride_h - window.padding.top;
  const std::int64_t end = begin + (strip.count - 1) * window.stride_h + window.kernel_h;
  InputRows rows;
  rows.first = std::clamp(begin, std::int64_t{0}, problem.input.height);
  rows.count = std::clamp(end, std::int64_t{0}, problem.input.height) - rows.first;
  rows.pad_top = std::max(std::int64_t{0}, std::min(end, std::int64_t{0}) - begin);
  rows.pad_bottom = end - begin - rows.pad_top - rows.count;
  return rows;
}

std::int64_t pad_right(const IntConvProblem& problem) {
  const Window& window = problem.window;
  const std::int64_t end =
      (problem.output.width - 1) * window.stride_w + window.kernel_w - window.padding.left;
  return std::max(std::int64_t{0}, end - problem.input.width);
}

std::vector<Strip> plan_strips(const Shape& output, std::int64_t parts) {
  constexpr std::int64_t kStripBytes = 256 << 10;
  const std::int64_t row_bytes = output.width * output.channels * parts * 4;
  const std::int64_t most_rows = std::max(std::int64_t{1}, kStripBytes / row_bytes);
  const std::int64_t num_strips = (output.height + most_rows - 1) / most_rows;
  const std::int64_t rows = (output.height + num_strips - 1) / num_strips;
  std::vector<Strip> strips;
  for (std::int64_t first = 0; first < output.height; first += rows) {
    strips.push_back({first, std::min(rows, output.height - first)});
  }
  return strips;
}

void window_sums(const IntConvProblem& problem, const void* input, const Strip& strip,
                 Scratch& scratch, std::int32_t* sums) {
  const Window& window = problem.window;
  const std::int64_t groups = problem.groups;
  const std::int64_t group_channels = problem.input.channels / groups;
  const InputRows rows = input_rows(problem, strip);
  const std::int64_t row_values = problem.input.width * groups;
  const bool pointwise = window.kernel_h == 1 && window.kernel_w == 1 && window.stride_w == 1 &&
                         window.stride_h == 1 && !has_padding(problem);
  std::int32_t* pixel_sums =
      pointwise ? sums : scratch.get<std::int32_t>(ScratchUse::kPixelSums, rows.count * row_values);
  const std::int64_t offset = rows.first * problem.input.width * problem.input.channels;
  if (problem.format.is_signed) {
    sum_channels_s8(static_cast<const std::int8_t*>(input) + offset, rows.count * row_values,
                    group_channels, problem.format.zero, pixel_sums);
  } else {
    sum_channels_u8(static_cast<const std::uint8_t*>(input) + offset, rows.count * row_values,
                    group_channels, problem.format.zero, pixel_sums);
  }
  if (pointwise) {
    return;
  }
  std::fill_n(sums, strip.count * problem.output.width * groups, 0);
  for (std::int64_t r = 0; r < strip.count; ++r) {
    for (std::int64_t ky = 0; ky < window.kernel_h; ++ky) {
      const std::int64_t y = (strip.first + r) * window.stride_h - window.padding.top + ky;
      if (y < 0 || y >= problem.input.height) {
        continue;
      }
      const std::int32_t* from = pixel_sums + (y - rows.first) * row_values;
      for (std::int64_t ow = 0; ow < problem.output.width; ++ow) {
        const std::int64_t x = ow * window.stride_w - window.padding.left;
        const std::int64_t x_begin = std::max(std::int64_t{0}, x);
        const std::int64_t x_end = std::min(problem.input.width, x + window.kernel_w);
        std::int32_t* to = sums + (r * problem.output.width + ow) * groups;
        for (std::int64_t column = x_begin; column < x_end; ++column) {
          add_row(from + column * groups, groups, to);
        }
      }
    }
  }
}

SumMerger::SumMerger(const SplitWeights& weights, const IntConvProblem& problem, InputRange range)
    : groups_(problem.groups),
      group_outputs_(problem.output.channels / problem.groups),
      parts_(weights.parts),
      narrow_(merged_below(weights, problem, range, 0x1p31)),
      zero_(weights.zero),
      constant_(weights.constant) {
  if (narrow_) {
    narrow_zero_ = narrowed(zero_);
    narrow_constant_ = narrowed(constant_);
  }
}

template <typename Raw>
void SumMerger::merge(const Raw* raw, const std::int32_t* sums, std::int64_t positions,
                      float* values) const {
  if (narrow_) {
    merge_clones(MergeArguments<Raw, std::int32_t>{raw, sums, data_or_null(narrow_zero_),
                                                   data_or_null(narrow_constant_), positions,
                                                   groups_, group_outputs_, parts_, values});
  } else {
    merge_clones(MergeArguments<Raw, std::int64_t>{raw, sums, data_or_null(zero_),
                                                   data_or_null(constant_), positions, groups_,
                                                   group_outputs_, parts_, values});
  }
}

void SumMerger::run(const std::int32_t* raw, const std::int32_t* sums, std::int64_t positions,
                    float* values) const {
  if (is_trivial()) {
    to_float(raw, positions * groups_ * group_outputs_, values);
  } else {
    merge(raw, sums, positions, values);
  }
}

void SumMerger::run(const float* raw, const std::int32_t* sums, std::int64_t positions,
                    float* values) const {
  if (is_trivial()) {
    std::copy_n(raw, positions * groups_ * group_outputs_, values);
  } else {
    merge(raw, sums, positions, values);
  }
}

void SumMerger::run(const double* raw, const std::int32_t* sums, std::int64_t positions,
                    float* values) const {
  if (is_trivial()) {
    to_float(raw, positions * groups_ * group_outputs_, values);
  } else {
    merge(raw, sums, positions, values);
  }
}

}  // namespace squant::eval
