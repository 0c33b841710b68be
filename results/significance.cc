#include "results/significance.h"

#include <algorithm>
#include <cmath>

namespace squant::results {

double mcnemar_mid_p(std::int64_t only_a, std::int64_t only_b) {
  if (only_a == only_b) return 1;
  const std::int64_t n = only_a + only_b;
  const std::int64_t least = std::min(only_a, only_b);
  const auto probability = [&](std::int64_t k) {
    const auto x = static_cast<double>(k);
    const auto all = static_cast<double>(n);
    return std::exp(std::lgamma(all + 1) - std::lgamma(x + 1) - std::lgamma(all - x + 1) -
                    all * std::log(2.0));
  };
  double tail = 0.5 * probability(least);
  for (std::int64_t k = least - 1; k >= 0; --k) {
    const double term = probability(k);
    tail += term;
    if (term < tail * 1e-17) break;  // the terms fall ever faster
  }
  return std::min(1.0, 2 * tail);
}

double two_proportions_p(std::int64_t right_a, std::int64_t num_a, std::int64_t right_b,
                         std::int64_t num_b) {
  if (num_a == 0 || num_b == 0) return 1;
  const auto a = static_cast<double>(num_a);
  const auto b = static_cast<double>(num_b);
  const double pooled = static_cast<double>(right_a + right_b) / (a + b);
  const double variance = pooled * (1 - pooled) * (1 / a + 1 / b);
  if (!(variance > 0)) return 1;
  const double difference = static_cast<double>(right_a) / a - static_cast<double>(right_b) / b;
  return std::erfc(std::abs(difference) / std::sqrt(2 * variance));
}

}  // namespace squant::results
