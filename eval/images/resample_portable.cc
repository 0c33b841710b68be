#include <algorithm>

#include "eval/images/resample_kernels.h"

namespace squant::eval {
namespace {

constexpr std::int32_t kHalf = 1 << (kWeightBits - 1);

std::uint8_t to_pixel(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

}  // namespace

void resample_row_portable(const AxisWeights& columns, int channels, const std::uint8_t* row,
                           std::uint8_t* out) {
  for (std::size_t i = 0; i < columns.first.size(); ++i) {
    const std::int32_t* weights =
        columns.weights.data() + i * static_cast<std::size_t>(columns.taps);
    const std::uint8_t* from = row + columns.first[i] * channels;
    for (int c = 0; c < channels; ++c) {
      std::int32_t sum = kHalf;
      for (int j = 0; j < columns.count[i]; ++j) sum += weights[j] * from[j * channels + c];
      *out++ = to_pixel(sum);
    }
  }
}

void resample_column_portable(const std::int32_t* weights, int count, const std::uint8_t* rows,
                              std::size_t stride, std::size_t width, std::uint8_t* out) {
  for (std::size_t x = 0; x < width; ++x) {
    std::int32_t sum = kHalf;
    for (int j = 0; j < count; ++j)
      sum += weights[j] * rows[static_cast<std::size_t>(j) * stride + x];
    out[x] = to_pixel(sum);
  }
}

}  // namespace squant::eval
