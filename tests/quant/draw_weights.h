// Weights of the kinds that take different ways through a team's code.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace squant::quant::testing {

enum class WeightKind {
  kNormal,
  kCoarse,    // on a grid: many equal priorities
  kOneSided,  // the range does not reach 0
  kConstant,
  kQuarters,  // with a scale of 1 at 4 bits: every error but two is -0.25, so a quarter must flip
              // up
  kTwoSteps,  // as kQuarters, but errors of +0.25 and of 2^-20 more, in turns
  kFar,       // so far from 0 that x is a coarse number, often outside the codes
  kHalves,    // with a scale of 1 at 4 bits: every x is halfway
};
inline constexpr int kNumWeightKinds = 8;

template <class Random>
void draw_weights(Random& random, WeightKind kind, float* weights, std::int64_t size) {
  std::normal_distribution<float> normal(0.0F, 0.1F);
  std::uniform_int_distribution<int> grid(-20, 20);
  std::uniform_int_distribution<int> step(0, 14);
  const float constant = 2.0F * normal(random);
  for (std::int64_t i = 0; i < size; ++i) {
    switch (kind) {
      case WeightKind::kNormal:
        weights[i] = normal(random);
        break;
      case WeightKind::kCoarse:
        weights[i] = static_cast<float>(grid(random)) * 0.25F;
        break;
      case WeightKind::kOneSided:
        weights[i] = std::fabs(normal(random)) + 0.5F;
        break;
      case WeightKind::kConstant:
        weights[i] = constant;
        break;
      case WeightKind::kQuarters:
        weights[i] = static_cast<float>(step(random)) + 0.25F;
        break;
      case WeightKind::kTwoSteps:
        weights[i] = static_cast<float>(step(random)) + 0.75F - (i % 2 == 0 ? 0x1p-20F : 0.0F);
        break;
      case WeightKind::kFar:
        weights[i] = 3e4F + 1e-2F * normal(random);
        break;
      case WeightKind::kHalves:
        weights[i] = static_cast<float>(step(random)) + 0.5F;
        break;
    }
  }
  const bool whole_range =
      kind == WeightKind::kQuarters || kind == WeightKind::kTwoSteps || kind == WeightKind::kHalves;
  if (!whole_range || size < 2) return;
  weights[random() % static_cast<std::uint64_t>(size)] = 0.0F;
  weights[size - 1] = 15.0F;
}

}  // namespace squant::quant::testing
