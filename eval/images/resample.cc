#include "eval/images/resample.h"

#include <algorithm>
#include <cmath>

#include "eval/images/resample_kernels.h"

namespace squant::eval {
namespace {

constexpr double kTriangleRadius = 1.0;

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

// A weight is rounded half away from zero; a triangle has no negative ones.
std::int32_t to_fixed(double weight) {
  return static_cast<std::int32_t>(0.5 + weight * (1 << kWeightBits));
}

// Python's round(excess / 2): to even where it lies in the middle.
std::int64_t crop_offset(std::int64_t excess) {
  const std::int64_t half = excess / 2;
  return excess % 2 == 0 || half % 2 == 0 ? half : half + 1;
}

// The longer side is truncated, as torchvision does.
std::int64_t scaled_side(std::int64_t side, std::int64_t shorter, std::int64_t scaled_shorter) {
  if (side == shorter) return scaled_shorter;
  return static_cast<std::int64_t>(static_cast<double>(scaled_shorter * side) /
                                   static_cast<double>(shorter));
}

}  // namespace

AxisWeights axis_weights(std::int64_t from, std::int64_t to, std::int64_t first,
                         std::int64_t count) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double radius = kTriangleRadius * stretch;
  const double inverse = 1.0 / stretch;
  const auto begin_of = [&](double center) {
    return std::max<std::int64_t>(static_cast<std::int64_t>(center - radius + 0.5), 0);
  };
  const auto end_of = [&](double center) {
    return std::min<std::int64_t>(static_cast<std::int64_t>(center + radius + 0.5), from);
  };
  const auto center_of = [&](std::int64_t i) {
    return (static_cast<double>(first + i) + 0.5) * scale;
  };

  AxisWeights axis;
  axis.begin = begin_of(center_of(0));
  axis.end = end_of(center_of(count - 1));
  axis.taps = 4 * ((static_cast<int>(std::ceil(radius)) * 2 + 1 + 3) / 4);
  axis.first.resize(static_cast<std::size_t>(count));
  axis.count.resize(static_cast<std::size_t>(count));
  axis.weights.assign(static_cast<std::size_t>(count * axis.taps), 0);
  std::vector<double> exact(static_cast<std::size_t>(axis.taps));
  for (std::int64_t i = 0; i < count; ++i) {
    const double center = center_of(i);
    const std::int64_t begin = begin_of(center);
    const auto used = static_cast<std::size_t>(end_of(center) - begin);
    double sum = 0;
    for (std::size_t j = 0; j < used; ++j) {
      exact[j] = triangle(
          (static_cast<double>(static_cast<std::int64_t>(j) + begin) - center + 0.5) * inverse);
      sum += exact[j];
    }
    axis.first[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(begin - axis.begin);
    axis.count[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(used);
    for (std::size_t j = 0; j < used; ++j) {
      axis.weights[static_cast<std::size_t>(i * axis.taps) + j] =
          to_fixed(sum != 0 ? exact[j] / sum : exact[j]);
    }
  }
  return axis;
}

void CropResampler::begin(std::int64_t width, std::int64_t height, int channels,
                          std::int64_t size) {
  const std::int64_t shorter = std::min(width, height);
  const auto scaled_shorter = static_cast<std::int64_t>(static_cast<double>(size) / 0.875);
  const std::int64_t scaled_width = scaled_side(width, shorter, scaled_shorter);
  const std::int64_t scaled_height = scaled_side(height, shorter, scaled_shorter);
  size_ = size;
  channels_ = channels;
  columns_ = axis_weights(width, scaled_width, crop_offset(scaled_width - size), size);
  rows_ = axis_weights(height, scaled_height, crop_offset(scaled_height - size), size);
  if (have_resample_avx2()) pair_weights_avx2(columns_, column_pairs_);
  constexpr std::size_t kAlign = 32;
  stride_ = (static_cast<std::size_t>(size * channels) + kAlign) / kAlign * kAlign;
  // The vector kernels take rows in pairs: one row more, whose weight is zero.
  between_.resize(static_cast<std::size_t>(rows_.end - rows_.begin + 1) * stride_);
  pushed_ = 0;
}

void CropResampler::push_row(const std::uint8_t* row) {
  std::uint8_t* out = between_.data() + static_cast<std::size_t>(pushed_++) * stride_;
  if (channels_ == 3 && !portable_ && have_resample_avx2()) {
    resample_row_avx2(columns_, column_pairs_.data(), row, out);
  } else {
    resample_row_portable(columns_, channels_, row, out);
  }
}

void CropResampler::finish(std::uint8_t* out) {
  const auto width = static_cast<std::size_t>(size_ * channels_);
  std::vector<std::uint8_t> line(stride_);
  for (std::int64_t y = 0; y < size_; ++y) {
    const auto i = static_cast<std::size_t>(y);
    const std::int32_t* weights = rows_.weights.data() + y * rows_.taps;
    const std::uint8_t* rows = between_.data() + static_cast<std::size_t>(rows_.first[i]) * stride_;
    if (!portable_ && have_resample_avx2()) {
      resample_column_avx2(weights, rows_.count[i], rows, stride_, width, line.data());
    } else {
      resample_column_portable(weights, rows_.count[i], rows, stride_, width, line.data());
    }
    std::uint8_t* to = out + y * size_ * 3;
    if (channels_ == 3) {
      std::copy_n(line.data(), width, to);
    } else {
      for (std::size_t x = 0; x < width; ++x) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = line[x];
    }
  }
}

}  // namespace squant::eval
