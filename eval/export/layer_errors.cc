#include "eval/export/layer_errors.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

#include "eval/export/row_threads.h"

namespace squant::eval {
namespace {

// In lanes that do not wait for each other.
double sum_of_squares(std::span<const float> values) {
  constexpr std::size_t kLanes = 8;
  double sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      sums[lane] += value * value;
    }
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  for (; i < values.size(); ++i) total += static_cast<double>(values[i]) * values[i];
  return total;
}

}  // namespace

LayerErrors::Channel LayerErrors::measure(const quant::SquantTensor& channels,
                                          std::int64_t row) const {
  const std::int64_t row_size = channels.shape.row();
  const quant::SquantTensor one = rows_of(channels, row, 1);
  const quant::SquantErrors errors = quant::squant_errors(one, options_);
  const double step = 1.0 / static_cast<double>(*one.scale);
  return {errors, sum_of_squares({one.weights, static_cast<std::size_t>(row_size)}),
          errors.squared * step * step};
}

void LayerErrors::add(const quant::SquantTensor& channels) {
  channels_.resize(static_cast<std::size_t>(channels.shape.out));
  for_each_piece(channels, num_threads_, [&](std::int64_t first_row, std::int64_t count) {
    for (std::int64_t row = first_row; row < first_row + count; ++row)
      channels_[static_cast<std::size_t>(row)] = measure(channels, row);
  });

  for (const Channel& channel : channels_) {
    sums_.squared += channel.errors.squared;
    sums_.max_kernel = std::max(sums_.max_kernel, channel.errors.max_kernel);
    sums_.max_channel = std::max(sums_.max_channel, channel.errors.max_channel);
    signal_ += channel.signal;
    noise_ += channel.noise;
  }
  num_weights_ += channels.shape.size();
}

double LayerErrors::rms_error() const {
  return num_weights_ == 0 ? 0 : std::sqrt(sums_.squared / static_cast<double>(num_weights_));
}

double LayerErrors::sqnr_db() const {
  return noise_ == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal_ / noise_);
}

}  // namespace squant::eval
