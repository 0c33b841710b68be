// Convolutions of every kind, for tests of kernels that add integers.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "eval/engine/int_conv.h"

namespace squant::eval {

// A convolution with its weights and one image, and the sums by plain loops over 64-bit integers.
struct Case {
  const char* name;
  Shape input;
  std::int64_t outputs;
  Window window;
  std::int64_t groups = 1;
  CodeFormat format;
  int weight_lo = -8, weight_hi = 7;
  std::vector<float> zero_points = {0};  // taken in turn by the output channels
  bool extreme = false;  // every weight and input at its largest: the sums that saturate first
};

class CaseData {
 public:
  explicit CaseData(const Case& of, unsigned seed = 1) : of_(of), random_(seed) {
    problem_.name = of.name;
    problem_.input = of.input;
    problem_.window = of.window;
    problem_.groups = of.groups;
    problem_.format = of.format;
    const Padding& pad = of.window.padding;
    problem_.output = {
        of.outputs,
        (of.input.height + pad.top + pad.bottom - of.window.kernel_h) / of.window.stride_h + 1,
        (of.input.width + pad.left + pad.right - of.window.kernel_w) / of.window.stride_w + 1};
    row_ = of.input.channels / of.groups * of.window.kernel_h * of.window.kernel_w;
    codes_.resize(static_cast<std::size_t>(of.outputs * row_));
    for (std::int8_t& code : codes_) {
      code = static_cast<std::int8_t>(of.extreme ? of.weight_hi : draw(of.weight_lo, of.weight_hi));
    }
    for (std::int64_t o = 0; o < of.outputs; ++o) {
      zero_points_.push_back(of.zero_points[static_cast<std::size_t>(o) % of.zero_points.size()]);
    }
    stored_.resize(static_cast<std::size_t>(of.input.size()));
    for (std::uint8_t& byte : stored_) {
      byte =
          static_cast<std::uint8_t>(of.extreme ? of.format.hi : draw(of.format.lo, of.format.hi));
    }
    problem_.codes = codes_;
    problem_.zero_point = zero_points_;
  }

  const Case& of() const { return of_; }
  const IntConvProblem& problem() const { return problem_; }

  const std::vector<std::uint8_t>& stored() const { return stored_; }

  std::vector<float> expected() const {
    const Shape& out = problem_.output;
    std::vector<float> result;
    for (std::int64_t y = 0; y < out.height; ++y) {
      for (std::int64_t x = 0; x < out.width; ++x) {
        for (std::int64_t o = 0; o < out.channels; ++o) {
          result.push_back(static_cast<float>(sum(y, x, o)));
        }
      }
    }
    return result;
  }

  std::vector<float> computed(const IntConv& conv) const {
    std::vector<float> result(static_cast<std::size_t>(problem_.output.size()), -1);
    Scratch scratch;
    for (const Strip& strip : conv.strips()) {
      conv.run(stored_.data(), strip, scratch,
               result.data() + strip.first * problem_.output.width * problem_.output.channels);
    }
    return result;
  }

 private:
  int draw(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random_); }

  std::int64_t input_at(std::int64_t y, std::int64_t x, std::int64_t channel) const {
    const std::uint8_t byte = stored_[static_cast<std::size_t>(
        (y * problem_.input.width + x) * problem_.input.channels + channel)];
    const int stored = problem_.format.is_signed ? static_cast<std::int8_t>(byte) : byte;
    return stored + problem_.format.zero;
  }

  std::int64_t sum(std::int64_t out_y, std::int64_t out_x, std::int64_t o) const {
    const Window& window = problem_.window;
    const std::int64_t channels = problem_.input.channels / problem_.groups;
    const std::int64_t first = o / (problem_.output.channels / problem_.groups) * channels;
    std::int64_t acc = 0;
    for (std::int64_t i = 0; i < channels; ++i) {
      for (std::int64_t ky = 0; ky < window.kernel_h; ++ky) {
        for (std::int64_t kx = 0; kx < window.kernel_w; ++kx) {
          const std::int64_t y = out_y * window.stride_h - window.padding.top + ky;
          const std::int64_t x = out_x * window.stride_w - window.padding.left + kx;
          if (y < 0 || y >= problem_.input.height || x < 0 || x >= problem_.input.width) {
            continue;
          }
          const auto at = static_cast<std::size_t>(
              ((o * channels + i) * window.kernel_h + ky) * window.kernel_w + kx);
          const std::int64_t w =
              codes_[at] + static_cast<std::int64_t>(zero_points_[static_cast<std::size_t>(o)]);
          acc += w * input_at(y, x, first + i);
        }
      }
    }
    return acc;
  }

  Case of_;
  std::mt19937 random_;
  IntConvProblem problem_;
  std::int64_t row_ = 0;
  std::vector<std::int8_t> codes_;
  std::vector<float> zero_points_;
  std::vector<std::uint8_t> stored_;
};

inline CodeFormat unsigned_format(int bits) { return {false, 0, (1 << bits) - 1, 0, 0}; }
inline CodeFormat signed_format(int bits) {
  return {true, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, 0, 0};
}
// X in [-127, 128]: no byte holds it, the code does.
inline CodeFormat shifted_format() { return {true, -128, 127, 1, 0}; }
inline Window asymmetric(std::int64_t kernel, std::int64_t stride, Padding padding) {
  Window window = Window::square(kernel, stride);
  window.padding = padding;
  return window;
}

// clang-format off
inline const Case kCases[] = {
    {"pointwise", {40, 9, 7}, 24, Window::square(1), 1, unsigned_format(8), -8, 7},
    {"linear", {130, 1, 1}, 33, Window::square(1), 1, unsigned_format(8), -128, 127, {3, -40, 0}},
    {"strided_pointwise", {16, 9, 7}, 10, Window::square(1, 2), 1, unsigned_format(4), -8, 7},
    {"three_by_three", {16, 12, 10}, 20, Window::square(3, 1, 1), 1, unsigned_format(8), -32, 31},
    {"strided", {16, 13, 11}, 20, Window::square(3, 2, 1), 1, unsigned_format(8), -32, 31, {5, -3}},
    {"asymmetric_padding", {8, 12, 12}, 16, asymmetric(3, 2, {0, 0, 1, 1}), 1, unsigned_format(6), -8, 7},
    {"wide_padding", {8, 6, 6}, 16, asymmetric(5, 1, {4, 3, 2, 1}), 1, unsigned_format(8), -128, 127, {60}},
    {"one_by_seven", {12, 9, 17}, 12, {1, 7, 1, 1, {0, 3, 0, 3}}, 1, unsigned_format(8), -8, 7},
    {"seven_by_one", {12, 17, 9}, 12, {7, 1, 1, 1, {3, 0, 3, 0}}, 1, unsigned_format(8), -8, 7},
    {"grouped", {24, 8, 8}, 36, Window::square(3, 1, 1), 3, unsigned_format(8), -128, 127, {10, -60, 0}},
    {"grouped_pointwise", {24, 8, 8}, 36, Window::square(1), 3, unsigned_format(8), -8, 7},
    {"depthwise", {37, 11, 9}, 37, Window::square(3, 1, 1), 37, unsigned_format(8), -32, 31},
    {"depthwise_strided", {48, 11, 9}, 48, asymmetric(5, 2, {1, 1, 2, 2}), 48, unsigned_format(8), -128, 127, {77, -9}},
    {"depthwise_signed", {16, 7, 7}, 16, Window::square(3, 1, 1), 16, signed_format(8), -32, 31},
    {"signed", {32, 8, 8}, 16, Window::square(1), 1, signed_format(8), -8, 7},
    {"signed_padded", {32, 8, 8}, 16, Window::square(3, 1, 1), 1, signed_format(8), -128, 127, {64, -64}},
    {"shifted", {32, 8, 8}, 16, Window::square(1), 1, shifted_format(), -8, 7},
    {"shifted_wide_weights", {32, 8, 8}, 16, Window::square(3, 2), 1, shifted_format(), -128, 127, {90, -1}},
    {"shifted_padded", {32, 8, 8}, 16, Window::square(3, 1, 1), 1, shifted_format(), -128, 127, {12}},
    // Channels whose weights lie on one side of 0: W far outside 8 bits.
    {"one_sided", {32, 8, 8}, 16, Window::square(3, 1, 1), 1, unsigned_format(8), -128, 127, {1500, -1400, 0, 128}},
    // Sums beyond 2^24, where float32 alone is not exact: in parts.
    {"large_sums", {256, 5, 5}, 8, Window::square(3, 1, 1), 1, unsigned_format(8), 100, 127, {0, 128, -255}},
    {"large_signed_sums", {256, 5, 5}, 8, Window::square(3, 1, 1), 1, signed_format(8), 100, 127, {0, 128}},
    // Every product at its largest: units without VNNI add two of them in 16 bits, and saturate.
    {"extreme", {64, 6, 6}, 16, Window::square(3, 1, 1), 1, unsigned_format(8), 127, 127, {0, 128, -255}, true},
    {"extreme_signed", {64, 6, 6}, 16, Window::square(3, 1, 1), 1, signed_format(8), 127, 127, {0}, true},
    {"extreme_depthwise", {64, 6, 6}, 64, Window::square(3, 1, 1), 64, unsigned_format(8), 127, 127, {0}, true},
    {"more_rows_than_a_strip", {8, 70, 90}, 24, Window::square(3, 1, 1), 1, unsigned_format(8), -128, 127, {11}},
};
// clang-format on

}  // namespace squant::eval
