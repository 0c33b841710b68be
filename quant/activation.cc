#include "quant/activation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "quant/numerics.h"
#include "quant/validate.h"

namespace squant::quant {
namespace {

constexpr std::int64_t kBlock =
    65536;  // elements: 256 KiB stay in the cache between the two passes over them
constexpr std::int64_t kLanes = 16;  // partial sums of a block; element i goes to sum i mod 16

// Number, sum, mean and squared deviations of some elements.
struct Moments {
  double size = 0;
  double sum = 0;
  double squared_deviations = 0;  // from their own mean
  double mean() const { return size > 0 ? sum / size : 0; }
};

struct Block {
  Moments all;
  Moments positive;
  float min = 0;
  float max = 0;
  bool finite = true;
};

double sum_lanes(const double (&lanes)[kLanes]) {
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// Calls body(lane, value) for every element, in the order of the lanes; written so that it becomes
// vector code.
template <class Body>
void for_each_lane(const float* values, std::int64_t size, Body body) {
  std::int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) body(lane, values[at + lane]);
  }
  for (std::int64_t lane = 0; at + lane < size; ++lane) body(lane, values[at + lane]);
}

Block measure_block(const float* values, std::int64_t size) {
  double sum[kLanes] = {};
  double sum_positive[kLanes] = {};
  double num_positive[kLanes] = {};
  float min[kLanes];
  float max[kLanes];
  float broken[kLanes] = {};  // NaN once an element is not finite
  std::fill_n(min, kLanes, values[0]);
  std::fill_n(max, kLanes, values[0]);
  for_each_lane(values, size, [&](std::int64_t lane, float value) {
    const float positive = value > 0 ? value : 0;
    sum[lane] += static_cast<double>(value);
    sum_positive[lane] += static_cast<double>(positive);
    num_positive[lane] += value > 0 ? 1.0 : 0.0;
    min[lane] = value < min[lane] ? value : min[lane];
    max[lane] = value > max[lane] ? value : max[lane];
    broken[lane] += value - value;
  });
  Block block;
  block.all.size = static_cast<double>(size);
  block.all.sum = sum_lanes(sum);
  block.positive.size = sum_lanes(num_positive);
  block.positive.sum = sum_lanes(sum_positive);
  block.min = *std::min_element(min, min + kLanes);
  block.max = *std::max_element(max, max + kLanes);
  block.finite = std::all_of(broken, broken + kLanes, [](float lane) { return lane == 0; });

  const double mean = block.all.mean();
  const double mean_positive = block.positive.mean();
  double squared[kLanes] = {};
  double squared_positive[kLanes] = {};
  for_each_lane(values, size, [&](std::int64_t lane, float value) {
    const double deviation = static_cast<double>(value) - mean;
    const double deviation_positive = value > 0 ? static_cast<double>(value) - mean_positive : 0.0;
    squared[lane] += deviation * deviation;
    squared_positive[lane] += deviation_positive * deviation_positive;
  });
  block.all.squared_deviations = sum_lanes(squared);
  block.positive.squared_deviations = sum_lanes(squared_positive);
  return block;
}

// The standard deviation of the blocks' elements together (Bessel's correction; 0 below two
// elements).
double combined_stddev(const std::vector<Block>& blocks, Moments Block::*which) {
  Moments total;
  for (const Block& block : blocks) {
    total.size += (block.*which).size;
    total.sum += (block.*which).sum;
  }
  if (total.size < 2) return 0;
  const double mean = total.mean();
  double squared = 0;
  for (const Block& block : blocks) {
    const Moments& part = block.*which;
    const double shift = part.mean() - mean;
    squared += part.squared_deviations + part.size * shift * shift;
  }
  return std::sqrt(squared / (total.size - 1));
}

}  // namespace

ActivationStats activation_stats(const float* values, std::int64_t size) {
  if (size < 1) throw std::invalid_argument("activation_stats: the tensor is empty");
  if (values == nullptr) throw std::invalid_argument("activation_stats: values is a null pointer");
  const std::int64_t num_blocks = (size + kBlock - 1) / kBlock;
  std::vector<Block> blocks(static_cast<std::size_t>(num_blocks));
#pragma omp parallel for schedule(static) if (num_blocks > 1)
  for (std::int64_t i = 0; i < num_blocks; ++i) {
    blocks[static_cast<std::size_t>(i)] =
        measure_block(values + i * kBlock, std::min(kBlock, size - i * kBlock));
  }

  ActivationStats stats;
  stats.size = size;
  stats.min = blocks[0].min;
  stats.max = blocks[0].max;
  for (const Block& block : blocks) {
    if (!block.finite) {
      const float* broken =
          std::find_if_not(values, values + size, [](float v) { return std::isfinite(v); });
      throw std::invalid_argument("activation_stats: element " + std::to_string(broken - values) +
                                  " is " + std::to_string(*broken) +
                                  ", activations must be finite");
    }
    stats.min = std::min(stats.min, block.min);
    stats.max = std::max(stats.max, block.max);
    stats.num_positive += static_cast<std::int64_t>(block.positive.size);
  }
  stats.stddev = combined_stddev(blocks, &Block::all);
  stats.stddev_positive = combined_stddev(blocks, &Block::positive);
  return stats;
}

ActivationRange activation_range(const ActivationStats& stats, int bits, double sigma,
                                 Rounding rounding) {
  check_bits(bits, "activation_range");
  if (!(sigma > 0) || !std::isfinite(sigma)) {
    throw std::invalid_argument("activation_range: sigma must be positive and finite, got " +
                                std::to_string(sigma));
  }
  const bool is_signed = stats.min < 0;
  double alpha = is_signed ? sigma * stats.stddev / 1.25 : sigma * stats.stddev_positive;
  if (bits < 6) alpha = std::min(alpha, static_cast<double>(stats.max));
  // No deviation, or nothing above 0: a range that covers no element would be of no use.
  if (!(alpha > 0))
    alpha = std::max(static_cast<double>(stats.max), -static_cast<double>(stats.min));
  const float max =
      static_cast<float>(std::min(alpha, static_cast<double>(std::numeric_limits<float>::max())));
  if (!is_signed) return {0, max};
  if (rounding == Rounding::kCurrent) return {-max, max};
  const CodeRange codes = signed_code_range(bits);
  return {max * codes.lo / codes.hi, max};
}

ActivationAffine activation_affine(const ActivationRange& range, int bits) {
  check_bits(bits, "activation_affine");
  if (!(range.min <= 0) || !(range.max >= 0) || !std::isfinite(range.max - range.min)) {
    throw std::invalid_argument("activation_affine: the range [" + std::to_string(range.min) +
                                ", " + std::to_string(range.max) +
                                "] must be finite and contain 0");
  }
  const bool is_signed = range.min < 0;
  const Affine affine = affine_from_range(range.min, range.max, bits, is_signed);
  ActivationAffine result;
  result.scale = affine.scale;
  result.zero_point = affine.zero_point;
  const CodeRange codes = signed_code_range(bits);
  result.lo = is_signed ? static_cast<std::int32_t>(codes.lo) : 0;
  result.hi = is_signed ? static_cast<std::int32_t>(codes.hi) : (1 << bits) - 1;
  return result;
}

}  // namespace squant::quant
