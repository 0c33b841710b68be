#include "results/significance.h"

#include <gtest/gtest.h>

namespace squant::results {
namespace {

TEST(SignificanceTest, McNemarMidPIsThePublishedOne) {
  // Fagerland, Lydersen, Laake 2013, table 4: airway hyper-responsiveness before and after stem
  // cell transplantation, 1 and 7 discordant pairs: exact p 0.070, mid-p 0.039.
  EXPECT_NEAR(mcnemar_mid_p(1, 7), 0.0390625, 1e-12);  // 2 (8 + 1) / 256 - 8 / 256
  EXPECT_DOUBLE_EQ(mcnemar_mid_p(1, 7), mcnemar_mid_p(7, 1));
}

TEST(SignificanceTest, McNemarOfSmallCountsIsCountedByHand) {
  EXPECT_DOUBLE_EQ(mcnemar_mid_p(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar_mid_p(5, 5), 1);
  EXPECT_NEAR(mcnemar_mid_p(0, 1), 0.5, 1e-12);       // half of 1/2, twice
  EXPECT_NEAR(mcnemar_mid_p(0, 5), 1.0 / 32, 1e-12);  // half of 1/32, twice
  EXPECT_NEAR(mcnemar_mid_p(1, 2), 0.625, 1e-12);     // 2 (1/8 + half of 3/8)
}

TEST(SignificanceTest, McNemarOfManyImagesIsCloseToTheNormalApproximation) {
  // z = 200 / sqrt(20000) = 1.4142, p = 0.1573.
  EXPECT_NEAR(mcnemar_mid_p(9900, 10100), 0.1573, 0.0005);
  EXPECT_LT(mcnemar_mid_p(0, 50000), 1e-300);
  EXPECT_NEAR(mcnemar_mid_p(24999, 25001), 0.9929, 0.0005);
}

TEST(SignificanceTest, TwoProportionsAreThePooledZTest) {
  // 15 and 25 of 50: pooled 0.4, standard error 0.09798, z 2.0412, p 0.04123.
  EXPECT_NEAR(two_proportions_p(15, 50, 25, 50), 0.04123, 0.00001);
  EXPECT_DOUBLE_EQ(two_proportions_p(30, 100, 300, 1000), 1);
  EXPECT_DOUBLE_EQ(two_proportions_p(50, 50, 70, 70), 1);
  EXPECT_DOUBLE_EQ(two_proportions_p(0, 0, 7, 70), 1);
}

}  // namespace
}  // namespace squant::results
