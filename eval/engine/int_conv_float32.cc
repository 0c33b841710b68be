// Float32 units on integers whose sums stay below 2^24, where every integer is a float32: oneDNN,
// or LibTorch where the program was built without it. Both convolve directly, by products and sums
// alone (no Winograd transform).
#include <algorithm>
#include <vector>

#include "eval/engine/int_conv_kernels.h"
#include "eval/engine/int_conv_onednn.h"
#include "eval/engine/int_conv_padded.h"
#include "eval/engine/int_conv_sums.h"
#include "eval/engine/int_conv_torch.h"
#include "eval/engine/int_conv_weights.h"

namespace squant::eval {
namespace {

constexpr double kLimit = 0x1p24;

class Float32Conv final : public IntConv {
 public:
  Float32Conv(const IntConvProblem& problem, const SplitWeights& weights)
      : problem_(problem),
        parts_(weights.parts),
        merger_(weights, problem, value_range(problem.format)) {
    problem_.codes = {};
    problem_.zero_point = {};
    strips_ = plan_strips(problem.output, parts_);
    compile(part_weights<float>(weights, problem));
  }

  void run(const void* input, const Strip& strip, Scratch& scratch, float* values) const override {
    const PaddedStrip shape = padded_strip(problem_, strip);
    auto* padded = scratch.get<float>(ScratchUse::kInput, shape.size());
    pad_strip(problem_, shape, input, padded);
    const std::int64_t positions = strip.count * problem_.output.width;
    float* raw = merger_.is_trivial()
                     ? values
                     : scratch.get<float>(ScratchUse::kRawSums,
                                          positions * problem_.output.channels * parts_);
    if (torch_ != nullptr) {
      torch_->run(padded, shape.height, shape.width, raw);
    } else {
      library_[strip.count == strips_.front().count ? 0 : 1]->run(padded, raw, scratch);
    }
    if (!merger_.is_trivial()) {
      std::int32_t* sums = nullptr;
      if (merger_.needs_sums()) {
        sums = scratch.get<std::int32_t>(ScratchUse::kInputSums, positions * problem_.groups);
        window_sums(problem_, input, strip, scratch, sums);
      }
      merger_.run(raw, sums, positions, values);
    }
  }

  SumKernel kernel() const override { return SumKernel::kFloat32; }
  std::int64_t memory_bytes() const override { return memory_bytes_; }

 private:
  void compile(const std::vector<float>& weights) {
    memory_bytes_ = static_cast<std::int64_t>(weights.size() * sizeof(float));
    // Padding is written into the strip, so that strips differ in their number of rows alone: the
    // last from the others.
    for (const Strip& strip : {strips_.front(), strips_.back()}) {
      const PaddedStrip padded = padded_strip(problem_, strip);
      onednn::ConvShape shape;
      shape.groups = problem_.groups * parts_;
      shape.in_channels = problem_.input.channels;
      shape.in_height = padded.height;
      shape.in_width = padded.width;
      shape.out_channels = problem_.output.channels * parts_;
      shape.out_height = strip.count;
      shape.out_width = problem_.output.width;
      shape.kernel_h = problem_.window.kernel_h;
      shape.kernel_w = problem_.window.kernel_w;
      shape.stride_h = problem_.window.stride_h;
      shape.stride_w = problem_.window.stride_w;
      auto conv = onednn::Convolution::create(shape, onednn::Type::kFloat32, onednn::Type::kFloat32,
                                              weights.data(),
                                              library_.empty() ? nullptr : library_.front().get());
      if (conv == nullptr) {
        library_.clear();
        torch_ = std::make_unique<TorchConv>(weights.data(), shape.groups, shape.out_channels,
                                             shape.in_channels, shape.kernel_h, shape.kernel_w,
                                             shape.stride_h, shape.stride_w);
        return;
      }
      library_.push_back(std::move(conv));
    }
  }

  IntConvProblem problem_;
  std::int64_t parts_;
  SumMerger merger_;
  std::vector<std::unique_ptr<onednn::Convolution>>
      library_;  // for the first strip's rows, and the last one's
  std::unique_ptr<TorchConv> torch_;
  std::int64_t memory_bytes_ = 0;
};

}  // namespace

std::unique_ptr<IntConv> make_float32_conv(const IntConvProblem& problem) {
  const InputRange range = value_range(problem.format);
  // Whole weights where a few parts do; else codes, with the zero points apart.
  constexpr std::int64_t kMostPartsOfWholeWeights = 4;
  constexpr std::int64_t kLargestWeight = 1 << 16;
  SplitWeights weights = weights_within(problem, -kLargestWeight, kLargestWeight);
  weights.parts = parts_below(weights, problem, range, kLimit);
  if (weights.parts == 0 || weights.parts > kMostPartsOfWholeWeights) {
    weights = weights_within(problem, -128, 127);
    weights.parts = parts_below(weights, problem, range, kLimit);
  }
  if (weights.parts == 0) {
    return nullptr;
  }
  if (is_depthwise(problem) && weights.parts == 1 && weights.zero.empty()) {
    return make_float32_depthwise_conv(problem);
  }
  return std::make_unique<Float32Conv>(problem, weights);
}

}  // namespace squant::eval
