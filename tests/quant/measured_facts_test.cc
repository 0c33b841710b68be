// What is kept of each layer: errors after each stage, and how much of its input is cut off.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "quant/saturation.h"
#include "quant/stage_errors.h"

namespace squant::quant {
namespace {

class StageErrorsTest : public ::testing::Test {
 protected:
  StageErrorsTest() {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.01F, 0.1F);
    for (float& weight : weights_) weight = normal(random);
  }
  SquantTensor tensor() {
    return {"w", shape_, weights_.data(), codes_.data(), scale_.data(), zero_point_.data()};
  }
  StageErrors errors_of(Mode mode) {
    return squant_stage_errors(tensor(), {.bits = 4, .mode = mode, .num_threads = 1});
  }
  // Of the codes that squant_cpu itself gives.
  SquantErrors measured(Mode mode) {
    const SquantOptions options{.bits = 4, .mode = mode, .num_threads = 1};
    const SquantTensor one = tensor();
    squant_cpu(std::span(&one, 1), options);
    return squant_errors(one, options);
  }
  static void expect_equal(const SquantErrors& a, const SquantErrors& b) {
    EXPECT_EQ(a.squared, b.squared);
    EXPECT_EQ(a.max_kernel, b.max_kernel);
    EXPECT_EQ(a.max_channel, b.max_channel);
  }

  WeightShape shape_{8, 16, 9};
  std::vector<float> weights_ = std::vector<float>(8 * 16 * 9);
  std::vector<std::int8_t> codes_ = std::vector<std::int8_t>(8 * 16 * 9, 77);
  std::vector<float> scale_ = std::vector<float>(8, -1.0F);
  std::vector<float> zero_point_ = std::vector<float>(8, -1.0F);
};

TEST_F(StageErrorsTest, EachStageIsThatOfTheShorterMode) {
  const StageErrors errors = errors_of(Mode::kEKC);
  ASSERT_TRUE(errors.k && errors.c);
  expect_equal(errors.e, measured(Mode::kE));
  expect_equal(*errors.k, measured(Mode::kEK));
  expect_equal(*errors.c, measured(Mode::kEKC));
  const StageErrors without_k = errors_of(Mode::kEC);
  ASSERT_TRUE(without_k.c);
  expect_equal(*without_k.c, measured(Mode::kEC));
}

TEST_F(StageErrorsTest, StagesThatTheModeLacksAreEmpty) {
  EXPECT_FALSE(errors_of(Mode::kE).k || errors_of(Mode::kE).c);
  EXPECT_TRUE(errors_of(Mode::kEK).k && !errors_of(Mode::kEK).c);
  EXPECT_TRUE(!errors_of(Mode::kEC).k && errors_of(Mode::kEC).c);
}

TEST_F(StageErrorsTest, TheTensorsOwnOutputsStay) {
  errors_of(Mode::kEKC);
  for (const std::int8_t code : codes_) ASSERT_EQ(code, 77);
  EXPECT_EQ(scale_, std::vector<float>(8, -1.0F));
}

TEST_F(StageErrorsTest, BadWeightsAreRefused) {
  weights_[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(errors_of(Mode::kEKC), std::invalid_argument);
}

Saturation saturation_of(const std::vector<float>& values, const ActivationAffine& affine) {
  return activation_saturation(values.data(), static_cast<std::int64_t>(values.size()), affine);
}

TEST(SaturationTest, CountsWhatIsClampedAtEitherEnd) {
  const ActivationAffine affine{.scale = 2, .zero_point = 0, .lo = -8, .hi = 7};
  // Codes: -10, -9, -8, 0, 7, 8 and, to even, 7.5 -> 8 and -8.5 -> -8.
  const Saturation found = saturation_of({-5, -4.5F, -4, 0, 3.5F, 4, 3.75F, -4.25F}, affine);
  EXPECT_EQ(found.low, 2.0 / 8);
  EXPECT_EQ(found.high, 2.0 / 8);
}

TEST(SaturationTest, RangeOfAllValuesClampsNone) {
  const ActivationRange range{0, 6};
  const Saturation found = saturation_of({0, 1, 2.5F, 6}, activation_affine(range, 4));
  EXPECT_EQ(found.low, 0);
  EXPECT_EQ(found.high, 0);
  EXPECT_EQ(saturation_of({}, activation_affine(range, 4)).high, 0);
}

TEST(SaturationTest, HalfOfANormalTensorLiesOutsideItsQuartiles) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(1 << 16);
  for (float& value : values) value = normal(random);
  const Saturation found = saturation_of(values, activation_affine({-0.6745F, 0.6745F}, 8));
  EXPECT_NEAR(found.low, 0.25, 0.01);
  EXPECT_NEAR(found.high, 0.25, 0.01);
}

}  // namespace
}  // namespace squant::quant
