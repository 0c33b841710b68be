#include "quant/activation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

namespace squant::quant {
namespace {

ActivationStats stats_of(const std::vector<float>& values) {
  return activation_stats(values.data(), static_cast<std::int64_t>(values.size()));
}

TEST(ActivationStatsTest, FollowTheirDefinitions) {
  const ActivationStats stats = stats_of({-2, 0, 1, 3, 8});  // mean 2, positive mean 4
  EXPECT_EQ(stats.size, 5);
  EXPECT_EQ(stats.num_positive, 3);
  EXPECT_EQ(stats.min, -2);
  EXPECT_EQ(stats.max, 8);
  EXPECT_DOUBLE_EQ(stats.stddev, std::sqrt((16.0 + 4 + 1 + 1 + 36) / 4));
  EXPECT_DOUBLE_EQ(stats.stddev_positive, std::sqrt((9.0 + 1 + 16) / 2));
}

TEST(ActivationStatsTest, OneElementHasNoDeviation) {
  const ActivationStats stats = stats_of({3});
  EXPECT_EQ(stats.stddev, 0);
  EXPECT_EQ(stats.stddev_positive, 0);
  EXPECT_EQ(stats_of({-1, -2, 5}).stddev_positive, 0);
  EXPECT_EQ(stats_of({-1, -2}).num_positive, 0);
}

std::vector<float> random_values(std::size_t size, float mean) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(mean, 1);
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(ActivationStatsTest, DoNotDependOnTheNumberOfThreads) {
  const std::vector<float> values = random_values(65536 * 5 + 1234, 0.3f);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const ActivationStats expected = stats_of(values);
  for (const int num_threads : {2, 3, 8}) {
    omp_set_num_threads(num_threads);
    const ActivationStats stats = stats_of(values);
    EXPECT_EQ(stats.stddev, expected.stddev);
    EXPECT_EQ(stats.stddev_positive, expected.stddev_positive);
    EXPECT_EQ(stats.min, expected.min);
    EXPECT_EQ(stats.max, expected.max);
    EXPECT_EQ(stats.num_positive, expected.num_positive);
  }
  omp_set_num_threads(before);
}

TEST(ActivationStatsTest, AreExactEnoughFarFromZero) {
  const std::vector<float> values =
      random_values(65536 * 3 + 17, 4096);  // one-pass formulas lose half of the digits here
  long double mean = 0;
  for (const float value : values) mean += value;
  mean /= static_cast<long double>(values.size());
  long double squared = 0;
  for (const float value : values) squared += (value - mean) * (value - mean);
  const double expected =
      static_cast<double>(std::sqrt(squared / static_cast<long double>(values.size() - 1)));
  EXPECT_NEAR(stats_of(values).stddev, expected, expected * 1e-13);
  EXPECT_NEAR(stats_of(values).stddev_positive, expected, expected * 1e-13);
}

TEST(ActivationStatsTest, RefuseEmptyAndBrokenTensors) {
  const float value = 1;
  EXPECT_THROW(activation_stats(&value, 0), std::invalid_argument);
  EXPECT_THROW(activation_stats(nullptr, 4), std::invalid_argument);
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values = random_values(70000, 0);
    values[69999] = broken;
    EXPECT_THAT([&] { stats_of(values); }, ::testing::ThrowsMessage<std::invalid_argument>(
                                               ::testing::HasSubstr("element 69999 is ")));
  }
}

ActivationStats made_up(float min, float max, double stddev, double stddev_positive) {
  ActivationStats stats;
  stats.size = 100;
  stats.num_positive = 50;
  stats.min = min;
  stats.max = max;
  stats.stddev = stddev;
  stats.stddev_positive = stddev_positive;
  return stats;
}

TEST(ActivationRangeTest, UnsignedIsSigmaDeviationsOfThePositiveElements) {
  const ActivationRange range = activation_range(made_up(0, 3, 9, 0.5), 8, 25, Rounding::kCurrent);
  EXPECT_EQ(range.min, 0);
  EXPECT_EQ(range.max, 12.5f);
}

TEST(ActivationRangeTest, BelowSixBitsTheLargestElementBoundsTheRange) {
  const ActivationStats stats = made_up(0, 3, 9, 0.5);
  EXPECT_EQ(activation_range(stats, 6, 14, Rounding::kCurrent).max, 7);
  EXPECT_EQ(activation_range(stats, 5, 12, Rounding::kCurrent).max, 3);
  EXPECT_EQ(activation_range(stats, 4, 2, Rounding::kCurrent).max, 1);
}

TEST(ActivationRangeTest, SignedTakesAllElementsAndIsNarrower) {
  const ActivationStats stats = made_up(-1, 100, 0.5, 9);
  const ActivationRange current = activation_range(stats, 8, 25, Rounding::kCurrent);
  EXPECT_EQ(current.min, -10);
  EXPECT_EQ(current.max, 10);
  const ActivationRange paper = activation_range(stats, 8, 25, Rounding::kPaper);
  EXPECT_EQ(paper.min, -10.0f * 128 / 127);
  EXPECT_EQ(paper.max, 10);
}

TEST(ActivationRangeTest, WithoutDeviationTheLargestMagnitudeIsCovered) {
  EXPECT_EQ(activation_range(made_up(2, 2, 0, 0), 8, 25, Rounding::kCurrent).max, 2);
  EXPECT_EQ(activation_range(made_up(-3, -1, 0.5, 0), 4, 12, Rounding::kCurrent).max, 3);
  EXPECT_EQ(activation_range(made_up(0, 0, 0, 0), 4, 12, Rounding::kCurrent).max, 0);
}

TEST(ActivationRangeTest, RefusesBitsAndSigmaThatMakeNoSense) {
  const ActivationStats stats = made_up(0, 3, 9, 0.5);
  EXPECT_THROW(activation_range(stats, 1, 12, Rounding::kCurrent), std::invalid_argument);
  EXPECT_THROW(activation_range(stats, 9, 12, Rounding::kCurrent), std::invalid_argument);
  EXPECT_THROW(activation_range(stats, 4, 0, Rounding::kCurrent), std::invalid_argument);
  EXPECT_THROW(activation_range(stats, 4, std::nan(""), Rounding::kCurrent), std::invalid_argument);
}

TEST(ActivationAffineTest, UnsignedCodesHaveNoShift) {
  const ActivationAffine affine = activation_affine({0, 3}, 4);
  EXPECT_EQ(affine.scale, 5);
  EXPECT_EQ(affine.zero_point, 0);
  EXPECT_EQ(affine.lo, 0);
  EXPECT_EQ(affine.hi, 15);
  EXPECT_FALSE(affine.is_signed());
}

TEST(ActivationAffineTest, SignedCodesAreShifted) {
  // scale 255 / 20 = 12.75; -10 lies at -127.5, half to even -128, plus 128.
  const ActivationAffine affine = activation_affine({-10, 10}, 8);
  EXPECT_EQ(affine.scale, 12.75f);
  EXPECT_EQ(affine.zero_point, 0);
  EXPECT_EQ(affine.lo, -128);
  EXPECT_EQ(affine.hi, 127);
  EXPECT_TRUE(affine.is_signed());
}

TEST(ActivationAffineTest, AnEmptyRangeStillHasAFiniteScale) {
  EXPECT_EQ(activation_affine({0, 0}, 8).scale, 255.0f / 1e-8f);
}

TEST(ActivationAffineTest, RefusesRangesThatAreNone) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THROW(activation_affine({0, infinity}, 8), std::invalid_argument);
  EXPECT_THROW(activation_affine({0, std::nanf("")}, 8), std::invalid_argument);
  EXPECT_THROW(activation_affine({1, 2}, 8), std::invalid_argument);
  EXPECT_THROW(activation_affine({-2, -1}, 8), std::invalid_argument);
  EXPECT_THROW(activation_affine({0, 1}, 0), std::invalid_argument);
}

}  // namespace
}  // namespace squant::quant
