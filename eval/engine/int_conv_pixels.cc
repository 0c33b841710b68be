// The first layer: windows of each input channel unrolled, then a 1x1 convolution with the channels
// as groups.
#include <algorithm>
#include <cstring>
#include <vector>

#include "eval/engine/int_conv.h"
#include "eval/engine/int_conv_padded.h"
#include "eval/engine/int_conv_sums.h"

namespace squant::eval {
namespace {

// A multiple of four, as 8-bit units want it. The taps added see zeros.
std::int64_t padded_taps(const Window& window) {
  return (window.kernel_h * window.kernel_w + 3) / 4 * 4;
}

}  // namespace

struct PixelConv::Impl {
  Shape input, output;
  Window window;
  std::int64_t plane_height = 0, plane_width = 0;  // of one channel, padding included
  std::int64_t taps = 0;                           // padded
  std::vector<Strip> strips;
  std::unique_ptr<IntConv> full,
      last;  // for the rows of every strip but the last, and for the last
  double bound = 0;

  // Bytes past the end, for copies wider than a window's row.
  static constexpr std::int64_t kSlack = 64;
  std::int64_t plane_size() const { return plane_height * plane_width; }
  void unroll(const std::uint8_t* planes, const Strip& strip, std::uint8_t* columns) const;
};

PixelConv::PixelConv(const IntConvProblem& problem, std::optional<SumKernel> kernel)
    : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.input = problem.input;
  impl.output = problem.output;
  impl.window = problem.window;
  impl.taps = padded_taps(problem.window);
  const std::int64_t channels = problem.input.channels;
  const std::int64_t outputs = problem.output.channels;
  const PaddedStrip whole = padded_strip(problem, {0, problem.output.height});
  impl.plane_height = whole.height;
  impl.plane_width = whole.width;
  impl.strips = plan_strips({outputs * channels, problem.output.height, problem.output.width}, 1);

  // [O, C, kh, kw] to [C, O, taps].
  const std::int64_t kernel_size = problem.window.kernel_h * problem.window.kernel_w;
  std::vector<std::int8_t> codes(static_cast<std::size_t>(channels * outputs * impl.taps), 0);
  std::vector<float> zero_point;
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      std::copy_n(problem.codes.begin() + (o * channels + c) * kernel_size, kernel_size,
                  codes.begin() + (c * outputs + o) * impl.taps);
    }
    zero_point.insert(zero_point.end(), problem.zero_point.begin(), problem.zero_point.end());
  }
  IntConvProblem unrolled;
  unrolled.name = problem.name;
  unrolled.groups = channels;
  unrolled.codes = codes;
  unrolled.zero_point = zero_point;
  const auto make = [&](const Strip& strip) {
    unrolled.input = {channels * impl.taps, strip.count, problem.output.width};
    unrolled.output = {channels * outputs, strip.count, problem.output.width};
    return make_int_conv(unrolled, kernel);
  };
  impl.full = make(impl.strips.front());
  if (impl.strips.back().count != impl.strips.front().count) {
    impl.last = make(impl.strips.back());
  }
}

PixelConv::~PixelConv() = default;

void PixelConv::load(const std::uint8_t* pixels, Scratch& scratch) const {
  const Impl& impl = *impl_;
  const std::int64_t channels = impl.input.channels;
  const std::int64_t size = channels * impl.plane_size();
  auto* planes = scratch.get<std::uint8_t>(ScratchUse::kPlanes, size + Impl::kSlack);
  std::memset(planes, 0, static_cast<std::size_t>(size + Impl::kSlack));
  const std::int64_t height =
      std::min(impl.input.height, impl.plane_height - impl.window.padding.top);
  const std::int64_t width =
      std::min(impl.input.width, impl.plane_width - impl.window.padding.left);
  for (std::int64_t c = 0; c < channels; ++c) {
    for (std::int64_t y = 0; y < height; ++y) {
      const std::uint8_t* from = pixels + y * impl.input.width * channels + c;
      std::uint8_t* to = planes + c * impl.plane_size() +
                         (y + impl.window.padding.top) * impl.plane_width +
                         impl.window.padding.left;
      for (std::int64_t x = 0; x < width; ++x) {
        to[x] = from[x * channels];
      }
    }
  }
}

void PixelConv::Impl::unroll(const std::uint8_t* planes, const Strip& strip,
                             std::uint8_t* columns) const {
  // A window's row is copied eight bytes at a time; what is written too much belongs to the next
  // row, the next window or the slack, all written later.
  for (std::int64_t row = 0; row < strip.count; ++row) {
    for (std::int64_t column = 0; column < output.width; ++column) {
      for (std::int64_t c = 0; c < input.channels; ++c, columns += taps) {
        const std::uint8_t* from = planes + c * plane_size() +
                                   (strip.first + row) * window.stride_h * plane_width +
                                   column * window.stride_w;
        std::uint8_t* to = columns;
        for (std::int64_t ky = 0; ky < window.kernel_h;
             ++ky, from += plane_width, to += window.kernel_w) {
          for (std::int64_t kx = 0; kx < window.kernel_w; kx += 8) {
            std::memcpy(to + kx, from + kx, 8);
          }
        }
        std::fill(to, columns + taps, std::uint8_t{0});
      }
    }
  }
}

void PixelConv::run(const Strip& strip, Scratch& scratch, float* values) const {
  const Impl& impl = *impl_;
  const auto* planes =
      scratch.get<std::uint8_t>(ScratchUse::kPlanes, impl.input.channels * impl.plane_size());
  const std::int64_t size = strip.count * impl.output.width * impl.input.channels * impl.taps;
  auto* columns = scratch.get<std::uint8_t>(ScratchUse::kColumns, size + Impl::kSlack);
  impl.unroll(planes, strip, columns);
  const IntConv& conv =
      impl.last != nullptr && strip.first == impl.strips.back().first ? *impl.last : *impl.full;
  const std::int64_t row_values = impl.output.width * impl.output.channels * impl.input.channels;
  for (const Strip& part : conv.strips()) {
    conv.run(columns, part, scratch, values + part.first * row_values);
  }
}

const std::vector<Strip>& PixelConv::strips() const { return impl_->strips; }
SumKernel PixelConv::kernel() const { return impl_->full->kernel(); }
double PixelConv::bound() const { return impl_->full->bound(); }
std::int64_t PixelConv::memory_bytes() const { return impl_->full->memory_bytes(); }

}  // namespace squant::eval
