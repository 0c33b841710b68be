#include "eval/engine/int_conv_padded.h"

#include <algorithm>

#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

template <typename From, typename To>
[[gnu::always_inline]] inline void convert_any(const From* __restrict from, std::int64_t count,
                                               std::int32_t zero, To* __restrict to) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<To>(from[i] + zero);
  }
}
SQ_TARGET_CLONES void convert(const std::uint8_t* from, std::int64_t count, std::int32_t zero,
                              float* to) {
  convert_any(from, count, zero, to);
}
SQ_TARGET_CLONES void convert(const std::int8_t* from, std::int64_t count, std::int32_t zero,
                              float* to) {
  convert_any(from, count, zero, to);
}
SQ_TARGET_CLONES void convert(const std::uint8_t* from, std::int64_t count, std::int32_t zero,
                              double* to) {
  convert_any(from, count, zero, to);
}
SQ_TARGET_CLONES void convert(const std::int8_t* from, std::int64_t count, std::int32_t zero,
                              double* to) {
  convert_any(from, count, zero, to);
}
void convert(const float* from, std::int64_t count, std::int32_t /*zero*/, double* to) {
  std::copy_n(from, count, to);
}

template <typename From, typename To>
void pad_rows(const IntConvProblem& problem, const PaddedStrip& strip, const From* input, To* out) {
  const std::int64_t row = strip.width * strip.channels;
  const std::int64_t left = problem.window.padding.left * strip.channels;
  // Columns that no window reads are left out: the strip may be narrower than padding and image
  // together.
  const std::int64_t inside = std::min(problem.input.width * strip.channels, row - left);
  for (std::int64_t y = 0; y < strip.height; ++y, out += row) {
    const std::int64_t from = strip.first_row + y;
    if (from < 0 || from >= problem.input.height || inside <= 0) {
      std::fill_n(out, row, To{0});
      continue;
    }
    std::fill_n(out, left, To{0});
    convert(input + from * problem.input.width * strip.channels, inside, problem.format.zero,
            out + left);
    std::fill(out + left + inside, out + row, To{0});
  }
}

template <typename To>
void pad_codes(const IntConvProblem& problem, const PaddedStrip& strip, const void* input,
               To* out) {
  if (problem.format.is_signed) {
    pad_rows(problem, strip, static_cast<const std::int8_t*>(input), out);
  } else {
    pad_rows(problem, strip, static_cast<const std::uint8_t*>(input), out);
  }
}

}  // namespace

PaddedStrip padded_strip(const IntConvProblem& problem, const Strip& strip) {
  const Window& window = problem.window;
  PaddedStrip result;
  result.first_row = strip.first * window.stride_h - window.padding.top;
  result.height = (strip.count - 1) * window.stride_h + window.kernel_h;
  result.width = (problem.output.width - 1) * window.stride_w + window.kernel_w;
  result.channels = problem.input.channels;
  return result;
}

void pad_strip(const IntConvProblem& problem, const PaddedStrip& strip, const void* input,
               float* out) {
  pad_codes(problem, strip, input, out);
}
void pad_strip(const IntConvProblem& problem, const PaddedStrip& strip, const void* input,
               double* out) {
  pad_codes(problem, strip, input, out);
}
void pad_strip_float(const IntConvProblem& problem, const PaddedStrip& strip, const float* input,
                     double* out) {
  pad_rows(problem, strip, input, out);
}

}  // namespace squant::eval
