// 8-bit products into 32-bit sums by oneDNN.
#include <algorithm>
#include <vector>

#include "eval/engine/int_conv_kernels.h"
#include "eval/engine/int_conv_onednn.h"
#include "eval/engine/int_conv_sums.h"
#include "eval/engine/int_conv_weights.h"

namespace squant::eval {
namespace {

// oneDNN adds in 32 bits, then scales in float32 (by 1) on the way to memory: below 2^24 that
// changes nothing.
constexpr double kLimit = 0x1p24;

// For signed inputs oneDNN adds 128 to each and subtracts the weights' share later: both sums must
// be exact.
InputRange library_range(const CodeFormat& format) {
  return format.is_signed ? InputRange{format.lo, std::int64_t{format.hi} + 128}
                          : InputRange{format.lo, format.hi};
}

// What the sums multiply: stored bytes, and X itself in the zero points' share.
InputRange either_range(const CodeFormat& format) {
  const InputRange stored = stored_range(format);
  const InputRange value = value_range(format);
  return {std::min(stored.lo, value.lo), std::max(stored.hi, value.hi)};
}

onednn::ConvShape strip_shape(const IntConvProblem& problem, const Strip& strip,
                              std::int64_t parts) {
  const InputRows rows = input_rows(problem, strip);
  onednn::ConvShape shape;
  shape.groups = problem.groups * parts;
  shape.in_channels = problem.input.channels;
  shape.in_height = rows.count;
  shape.in_width = problem.input.width;
  shape.out_channels = problem.output.channels * parts;
  shape.out_height = strip.count;
  shape.out_width = problem.output.width;
  shape.kernel_h = problem.window.kernel_h;
  shape.kernel_w = problem.window.kernel_w;
  shape.stride_h = problem.window.stride_h;
  shape.stride_w = problem.window.stride_w;
  shape.pad_top = rows.pad_top;
  shape.pad_left = problem.window.padding.left;
  shape.pad_bottom = rows.pad_bottom;
  shape.pad_right = pad_right(problem);
  return shape;
}

class Int8Conv final : public IntConv {
 public:
  static std::unique_ptr<Int8Conv> create(const IntConvProblem& problem, SplitWeights weights) {
    auto result = std::unique_ptr<Int8Conv>(new Int8Conv(problem, weights));
    return result->compile(part_weights<std::int8_t>(weights, problem)) &&
                   result->adds_exactly(weights)
               ? std::move(result)
               : nullptr;
  }

  void run(const void* input, const Strip& strip, Scratch& scratch, float* values) const override {
    const onednn::Convolution& conv = convolution(strip);
    const auto* source =
        static_cast<const std::uint8_t*>(input) +
        input_rows(problem_, strip).first * problem_.input.width * problem_.input.channels;
    if (merger_.is_trivial()) {
      conv.run(source, values, scratch);
      return;
    }
    const std::int64_t positions = strip.count * problem_.output.width;
    auto* raw = scratch.get<std::int32_t>(ScratchUse::kRawSums,
                                          positions * problem_.output.channels * parts_);
    conv.run(source, raw, scratch);
    std::int32_t* sums = nullptr;
    if (merger_.needs_sums()) {
      sums = scratch.get<std::int32_t>(ScratchUse::kInputSums, positions * problem_.groups);
      window_sums(problem_, input, strip, scratch, sums);
    }
    merger_.run(raw, sums, positions, values);
  }

  SumKernel kernel() const override { return SumKernel::kInt8; }
  std::int64_t memory_bytes() const override {
    return convolutions_.empty() ? 0 : onednn::size_bytes(*convolutions_.front()->weights());
  }

 private:
  Int8Conv(const IntConvProblem& problem, const SplitWeights& weights)
      : problem_(problem),
        parts_(weights.parts),
        merger_(weights, problem, either_range(problem.format)) {
    problem_.codes = {};
    problem_.zero_point = {};
    strips_ = plan_strips(problem.output, parts_);
  }

  bool compile(const std::vector<std::int8_t>& weights) {
    const onednn::Type source =
        problem_.format.is_signed ? onednn::Type::kInt8 : onednn::Type::kUint8;
    const onednn::Type destination =
        merger_.is_trivial() ? onednn::Type::kFloat32 : onednn::Type::kInt32;
    for (const Strip& strip : strips_) {
      const onednn::ConvShape shape = strip_shape(problem_, strip, parts_);
      const auto same = std::find(shapes_.begin(), shapes_.end(), shape);
      of_strip_.push_back(static_cast<std::size_t>(same - shapes_.begin()));
      if (same != shapes_.end()) {
        continue;
      }
      if (shape.in_height < 1) {
        return false;  // a strip of nothing but padding
      }
      auto conv = onednn::Convolution::create(
          shape, source, destination, weights.data(),
          convolutions_.empty() ? nullptr : convolutions_.front().get());
      if (conv == nullptr) {
        return false;
      }
      shapes_.push_back(shape);
      convolutions_.push_back(std::move(conv));
    }
    return true;
  }

  const onednn::Convolution& convolution(const Strip& strip) const {
    return *convolutions_[of_strip_[static_cast<std::size_t>(strip.first / strips_.front().count)]];
  }

  // Runs every strip on the input where sums of neighbouring products are largest, the extreme byte
  // everywhere: a unit that saturates such sums (the 8-bit instructions before VNNI do) is found
  // out here and not used.
  bool adds_exactly(const SplitWeights& weights) const {
    for (const std::int32_t extreme : {problem_.format.lo, problem_.format.hi}) {
      if (extreme != 0 && !adds_exactly(weights, extreme)) {
        return false;
      }
    }
    return true;
  }
  bool adds_exactly(const SplitWeights& weights, std::int32_t extreme) const;

  IntConvProblem problem_;
  std::int64_t parts_;
  SumMerger merger_;
  std::vector<onednn::ConvShape> shapes_;
  std::vector<std::unique_ptr<onednn::Convolution>> convolutions_;  // one per shape
  std::vector<std::size_t> of_strip_;                               // index into convolutions_
};

// Sums of a kernel's weights over the taps [y0, y1) x [x0, x1).
std::int64_t box(const std::vector<std::int64_t>& taps, std::int64_t kernel_w, std::int64_t y0,
                 std::int64_t y1, std::int64_t x0, std::int64_t x1) {
  std::int64_t sum = 0;
  for (std::int64_t y = y0; y < y1; ++y) {
    for (std::int64_t x = x0; x < x1; ++x) {
      sum += taps[static_cast<std::size_t>(y * kernel_w + x)];
    }
  }
  return sum;
}

bool Int8Conv::adds_exactly(const SplitWeights& weights, std::int32_t extreme) const {
  const Window& window = problem_.window;
  const std::int64_t outputs = problem_.output.channels;
  const std::int64_t kernel = window.kernel_h * window.kernel_w;
  const std::int64_t channels = static_cast<std::int64_t>(weights.values.size()) / outputs / kernel;
  // Per output, the sum over input channels at each tap.
  std::vector<std::vector<std::int64_t>> taps(static_cast<std::size_t>(outputs));
  for (std::int64_t o = 0; o < outputs; ++o) {
    taps[static_cast<std::size_t>(o)].assign(static_cast<std::size_t>(kernel), 0);
    for (std::int64_t i = 0; i < channels * kernel; ++i) {
      taps[static_cast<std::size_t>(o)][static_cast<std::size_t>(i % kernel)] +=
          weights.values[static_cast<std::size_t>(o * channels * kernel + i)];
    }
  }
  Scratch scratch;
  const std::vector<std::uint8_t> input(static_cast<std::size_t>(problem_.input.size()),
                                        static_cast<std::uint8_t>(extreme));
  std::vector<float> values;
  std::vector<bool> seen(convolutions_.size(), false);
  for (std::size_t s = 0; s < strips_.size(); ++s) {
    if (seen[of_strip_[s]]) {
      continue;
    }
    seen[of_strip_[s]] = true;
    const Strip& strip = strips_[s];
    values.assign(static_cast<std::size_t>(strip.count * problem_.output.width * outputs), 0);
    run(input.data(), strip, scratch, values.data());
    for (std::int64_t row : {std::int64_t{0}, strip.count - 1}) {
      for (std::int64_t column :
           {std::int64_t{0}, problem_.output.width / 2, problem_.output.width - 1}) {
        const std::int64_t y = (strip.first + row) * window.stride_h - window.padding.top;
        const std::int64_t x = column * window.stride_w - window.padding.left;
        const std::int64_t y0 = std::max(std::int64_t{0}, -y);
        const std::int64_t y1 = std::min(window.kernel_h, problem_.input.height - y);
        const std::int64_t x0 = std::max(std::int64_t{0}, -x);
        const std::int64_t x1 = std::min(window.kernel_w, problem_.input.width - x);
        const std::int64_t inputs =
            std::max(std::int64_t{0}, y1 - y0) * std::max(std::int64_t{0}, x1 - x0) * channels;
        for (std::int64_t o = 0; o < outputs; ++o) {
          const auto at = static_cast<std::size_t>(o);
          const std::int64_t zero = weights.zero.empty() ? 0 : weights.zero[at];
          const std::int64_t constant = weights.constant.empty() ? 0 : weights.constant[at];
          const std::int64_t acc = extreme * box(taps[at], window.kernel_w, y0, y1, x0, x1) +
                                   zero * (std::int64_t{extreme} + problem_.format.zero) * inputs +
                                   constant;
          if (values[static_cast<std::size_t>((row * problem_.output.width + column) * outputs +
                                              o)] != static_cast<float>(acc)) {
            return false;
          }
        }
      }
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<IntConv> make_int8_conv(const IntConvProblem& problem) {
  // Padding is 0 for the library, and must be X = 0.
  if (!onednn::has_exact_int8() || (problem.format.zero != 0 && has_padding(problem))) {
    return nullptr;
  }
  SplitWeights weights = weights_within(problem, -128, 127);
  if (is_depthwise(problem) && !weights.zero.empty()) {
    return nullptr;  // the sums of inputs would cost as much as the layer
  }
  weights.parts = parts_below(weights, problem, library_range(problem.format), kLimit);
  if (weights.parts == 0) {
    return nullptr;
  }
  if (problem.format.zero != 0) {
    const std::int64_t row = weights_per_output(problem);
    for (std::int64_t o = 0; o < problem.output.channels; ++o) {
      std::int64_t sum = 0;
      for (std::int64_t i = o * row; i < (o + 1) * row; ++i) {
        sum += weights.values[static_cast<std::size_t>(i)];
      }
      weights.constant.push_back(sum * problem.format.zero);
    }
  }
  return Int8Conv::create(problem, std::move(weights));
}

}  // namespace squant::eval
