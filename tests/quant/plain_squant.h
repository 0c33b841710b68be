// SQuant as plainly as it can be said: sorts everything, keeps everything, shares no code with
// quant/.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "quant/squant.h"

namespace squant::quant::testing {

struct PlainResult {
  std::vector<std::int8_t> codes;
  std::vector<float> scale;
  std::vector<float> zero_point;
};

struct PlainElement {
  float x;
  float rounded;
  float error;
  float up_priority;    // 0: cannot go up
  float down_priority;  // 0: cannot go down
};

// The elements' places by falling priority, the lower place first among equals; without the
// priorities of 0.
inline std::vector<std::size_t> plain_order(const std::vector<float>& priorities) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < priorities.size(); ++i) {
    if (priorities[i] > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return priorities[a] > priorities[b]; });
  return order;
}

// Sums are taken in steps of 2^-26; llabs and long double keep all of their digits.
inline long double plain_sum(const PlainElement* elements, std::size_t count) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    sum += static_cast<std::int64_t>(
        std::trunc(std::ldexp(static_cast<double>(elements[i].error), 26)));
  }
  return std::ldexp(static_cast<long double>(sum), -26);
}

inline std::size_t plain_round(long double magnitude) {
  const long double below = std::floor(magnitude);
  const long double rest = magnitude - below;
  const auto whole = static_cast<std::size_t>(below);
  if (rest == 0.5L) return whole + whole % 2;
  return rest > 0.5L ? whole + 1 : whole;
}

inline void plain_channel(const float* weights, const WeightShape& shape,
                          const SquantOptions& options, PlainResult& to) {
  const auto kernel = static_cast<std::size_t>(shape.kernel);
  const auto row = static_cast<std::size_t>(shape.row());
  const float lo = -std::ldexp(1.0f, options.bits - 1);
  const float hi = -lo - 1;
  const float min = *std::min_element(weights, weights + row);
  const float max = *std::max_element(weights, weights + row);
  const float scale = (std::ldexp(1.0f, options.bits) - 1) / std::max(max - min, 1e-8f);
  const float scaled_min = scale * min;
  const float zero_point = std::nearbyint(scaled_min) - lo;
  to.scale.push_back(scale);
  to.zero_point.push_back(zero_point);

  std::vector<PlainElement> elements(row);
  for (std::size_t i = 0; i < row; ++i) {
    PlainElement& element = elements[i];
    const float scaled = scale * weights[i];
    element.x = scaled - zero_point;
    if (options.rounding == Rounding::kCurrent) {
      element.rounded = std::nearbyint(element.x);
    } else {
      const float clamped = std::min(std::max(element.x, lo), hi);
      element.rounded = std::floor(clamped);
      if (clamped - element.rounded >= 0.5f) element.rounded += 1;
    }
    element.error = element.rounded - element.x;
    element.up_priority = element.error < 0 && element.x < hi ? -element.error : 0;
    element.down_priority = element.error > 0 && element.x > lo ? element.error : 0;
  }

  const bool run_k = (options.mode == Mode::kEK || options.mode == Mode::kEKC) && kernel > 1;
  long double sum = plain_sum(elements.data(), row);
  if (run_k) {
    for (std::size_t begin = 0; begin < row; begin += kernel) {
      const long double kernel_sum = plain_sum(&elements[begin], kernel);
      const bool up = kernel_sum < 0;
      const std::size_t count = plain_round(std::fabs(kernel_sum));
      std::vector<float> priorities;
      for (std::size_t i = 0; i < kernel; ++i) {
        priorities.push_back(up ? elements[begin + i].up_priority
                                : elements[begin + i].down_priority);
      }
      const std::vector<std::size_t> order = plain_order(priorities);
      const std::size_t flips = std::min(count, order.size());
      for (std::size_t i = 0; i < flips; ++i) {
        PlainElement& element = elements[begin + order[i]];
        element.rounded += up ? 1 : -1;
        element.error += up ? 1 : -1;
        sum += up ? 1 : -1;
      }
      // What K names for C; nothing else may flip.
      for (std::size_t i = 0; i < kernel; ++i) {
        elements[begin + i].up_priority = 0;
        elements[begin + i].down_priority = 0;
      }
      if (static_cast<long double>(count) >= std::fabs(kernel_sum)) {
        if (flips > 0) {
          PlainElement& last = elements[begin + order[flips - 1]];
          (up ? last.down_priority : last.up_priority) = std::fabs(last.error);
        }
      } else if (flips < order.size()) {
        PlainElement& next = elements[begin + order[flips]];
        (up ? next.up_priority : next.down_priority) = std::fabs(next.error);
      }
    }
  }
  if (options.mode == Mode::kEC || options.mode == Mode::kEKC) {
    const bool up = sum < 0;
    std::vector<float> priorities;
    for (const PlainElement& element : elements) {
      priorities.push_back(up ? element.up_priority : element.down_priority);
    }
    const std::vector<std::size_t> order = plain_order(priorities);
    const std::size_t flips = std::min(plain_round(std::fabs(sum)), order.size());
    for (std::size_t i = 0; i < flips; ++i) elements[order[i]].rounded += up ? 1 : -1;
  }
  for (const PlainElement& element : elements) {
    to.codes.push_back(static_cast<std::int8_t>(std::min(std::max(element.rounded, lo), hi)));
  }
}

inline PlainResult plain_squant(const std::vector<float>& weights, const WeightShape& shape,
                                const SquantOptions& options) {
  PlainResult result;
  for (std::int64_t o = 0; o < shape.out; ++o)
    plain_channel(weights.data() + o * shape.row(), shape, options, result);
  return result;
}

}  // namespace squant::quant::testing
