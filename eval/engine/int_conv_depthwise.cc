// Depthwise layers on float32 units: one input channel an output, so that the channels are the
// lanes.
#include <algorithm>
#include <vector>

#include "eval/engine/int_conv_kernels.h"
#include "eval/engine/int_conv_padded.h"
#include "eval/engine/int_conv_sums.h"
#include "eval/engine/int_conv_weights.h"
#include "eval/engine/target_clones.h"

namespace squant::eval {
namespace {

struct DepthwiseRows {
  const float* input;    // [height, width, C], padding included
  const float* weights;  // [kh, kw, C]
  float* values;         // [rows, out_width, C]
  std::int64_t rows, width, out_width, channels;
  std::int64_t kernel_h, kernel_w, stride_h, stride_w;
};

// kPixels neighbouring outputs of kLanes channels, in registers.
template <std::int64_t kPixels, std::int64_t kLanes>
[[gnu::always_inline]] inline void depthwise_tile(const DepthwiseRows& a, const float* input,
                                                  std::int64_t channel, float* values) {
  float acc[kPixels][kLanes] = {};
  for (std::int64_t ky = 0; ky < a.kernel_h; ++ky) {
    for (std::int64_t kx = 0; kx < a.kernel_w; ++kx) {
      const float* w = a.weights + (ky * a.kernel_w + kx) * a.channels + channel;
      const float* x = input + (ky * a.width + kx) * a.channels + channel;
      for (std::int64_t p = 0; p < kPixels; ++p) {
        for (std::int64_t c = 0; c < kLanes; ++c) {
          acc[p][c] += w[c] * x[p * a.stride_w * a.channels + c];
        }
      }
    }
  }
  for (std::int64_t p = 0; p < kPixels; ++p) {
    for (std::int64_t c = 0; c < kLanes; ++c) {
      values[p * a.channels + channel + c] = acc[p][c];
    }
  }
}

template <std::int64_t kPixels>
[[gnu::always_inline]] inline void depthwise_pixels(const DepthwiseRows& a, const float* input,
                                                    float* values) {
  std::int64_t channel = 0;
  for (; channel + 32 <= a.channels; channel += 32) {
    depthwise_tile<kPixels, 32>(a, input, channel, values);
  }
  for (; channel + 8 <= a.channels; channel += 8) {
    depthwise_tile<kPixels, 8>(a, input, channel, values);
  }
  for (; channel < a.channels; ++channel) {
    depthwise_tile<kPixels, 1>(a, input, channel, values);
  }
}

SQ_TARGET_CLONES void depthwise(const DepthwiseRows& a) {
  constexpr std::int64_t kPixels = 4;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const float* input = a.input + row * a.stride_h * a.width * a.channels;
    float* values = a.values + row * a.out_width * a.channels;
    std::int64_t column = 0;
    for (; column + kPixels <= a.out_width; column += kPixels) {
      depthwise_pixels<kPixels>(a, input + column * a.stride_w * a.channels,
                                values + column * a.channels);
    }
    for (; column < a.out_width; ++column) {
      depthwise_pixels<1>(a, input + column * a.stride_w * a.channels,
                          values + column * a.channels);
    }
  }
}

class DepthwiseConv final : public IntConv {
 public:
  DepthwiseConv(const IntConvProblem& problem, const SplitWeights& weights) : problem_(problem) {
    problem_.codes = {};
    problem_.zero_point = {};
    strips_ = plan_strips(problem.output, 1);
    const std::int64_t channels = problem.input.channels;
    const std::int64_t kernel = weights_per_output(problem);
    weights_.resize(weights.values.size());
    for (std::int64_t c = 0; c < channels; ++c) {
      for (std::int64_t k = 0; k < kernel; ++k) {
        weights_[static_cast<std::size_t>(k * channels + c)] =
            static_cast<float>(weights.values[static_cast<std::size_t>(c * kernel + k)]);
      }
    }
  }

  void run(const void* input, const Strip& strip, Scratch& scratch, float* values) const override {
    const PaddedStrip shape = padded_strip(problem_, strip);
    auto* padded = scratch.get<float>(ScratchUse::kInput, shape.size());
    pad_strip(problem_, shape, input, padded);
    const Window& window = problem_.window;
    depthwise({padded, weights_.data(), values, strip.count, shape.width, problem_.output.width,
               shape.channels, window.kernel_h, window.kernel_w, window.stride_h, window.stride_w});
  }
  SumKernel kernel() const override { return SumKernel::kFloat32; }
  std::int64_t memory_bytes() const override {
    return static_cast<std::int64_t>(weights_.size() * sizeof(float));
  }

 private:
  IntConvProblem problem_;
  std::vector<float> weights_;  // [kh, kw, C]
};

}  // namespace

std::unique_ptr<IntConv> make_float32_depthwise_conv(const IntConvProblem& problem) {
  constexpr std::int64_t kLargestWeight = 1 << 16;
  SplitWeights weights = weights_within(problem, -kLargestWeight, kLargestWeight);
  if (!is_depthwise(problem) || !weights.zero.empty() ||
      parts_below(weights, problem, value_range(problem.format), 0x1p24) != 1) {
    return nullptr;
  }
  return std::make_unique<DepthwiseConv>(problem, weights);
}

}  // namespace squant::eval
