#include "results/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squant::results {
namespace {

using ::testing::HasSubstr;

// R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statist. Med. 17
// (1998), table I, method 3.
TEST(WilsonIntervalTest, GivesThePublishedIntervals) {
  struct Case {
    std::int64_t successes, n;
    double low, high;
  };
  for (const Case& c : {Case{81, 263, 25.53, 36.62}, Case{15, 148, 6.24, 16.05},
                        Case{0, 20, 0, 16.11}, Case{1, 29, 0.61, 17.18}}) {
    const Interval interval = wilson_interval_pct(c.successes, c.n);
    EXPECT_NEAR(interval.low, c.low, 0.005) << c.successes << " of " << c.n;
    EXPECT_NEAR(interval.high, c.high, 0.005) << c.successes << " of " << c.n;
  }
}

TEST(WilsonIntervalTest, StaysWithinZeroAndHundred) {
  for (const std::int64_t n : {1LL, 2LL, 50000LL, 4000000000LL}) {
    EXPECT_EQ(wilson_interval_pct(0, n).low, 0);
    EXPECT_GT(wilson_interval_pct(0, n).high, 0);
    EXPECT_EQ(wilson_interval_pct(n, n).high, 100);
    EXPECT_LT(wilson_interval_pct(n, n).low, 100);
  }
  EXPECT_EQ(wilson_interval_pct(0, 0).low, 0);
  EXPECT_EQ(wilson_interval_pct(0, 0).high, 100);
}

// 50,000 images, 66.14% expected within 0.2.
VerdictInput whole(std::int64_t num_top1) {
  VerdictInput input;
  input.num_images = input.num_planned = input.num_reference = 50000;
  input.num_top1 = num_top1;
  input.reference = ReferenceValue{66.14, 0.2, "table 1", 71.08};
  return input;
}

TEST(JudgeTest, WholeDataSetPassesUpToTheToleranceAndNoFurther) {
  EXPECT_EQ(judge(whole(33070)).kind, VerdictKind::kPass);  // 66.14
  EXPECT_EQ(judge(whole(33170)).kind, VerdictKind::kPass);  // 66.34: exactly 0.2 above
  EXPECT_EQ(judge(whole(33171)).kind, VerdictKind::kFail);
  EXPECT_EQ(judge(whole(32970)).kind, VerdictKind::kPass);  // 65.94: exactly 0.2 below
  EXPECT_EQ(judge(whole(32969)).kind, VerdictKind::kFail);
}

TEST(JudgeTest, TextsCarryTheFigures) {
  EXPECT_EQ(judge(whole(33095)).text, "66.19% is 0.05 above the reference's 66.14%, within 0.20");
  EXPECT_EQ(judge(whole(32915)).text,
            "65.83% is 0.31 below the reference's 66.14%, outside the tolerance of 0.20");
  EXPECT_EQ(judge(whole(33070)).text, "66.14% is equal to the reference's 66.14%, within 0.20");
}

TEST(JudgeTest, SubsetFailsOnlyWhereTheWidenedIntervalExcludesTheReference) {
  VerdictInput input = whole(0);
  input.num_images = input.num_planned = 250;
  input.num_top1 = 155;  // 62.0%, interval 55.8 to 67.8
  EXPECT_EQ(judge(input).kind, VerdictKind::kInconclusive);
  EXPECT_EQ(judge(input).text,
            "62.00% is 4.14 below the reference's 66.14% on 250 of 50,000 images: 95% interval "
            "55.84 to 67.79 "
            "does not exclude it");
  // 150 of 250: interval up to 65.88; 0.2 more still does not reach 66.14, 0.3 more does.
  input.num_top1 = 150;
  EXPECT_EQ(judge(input).kind, VerdictKind::kFail);
  EXPECT_THAT(judge(input).text, HasSubstr("excludes it by more than the tolerance of 0.20"));
  input.reference->tolerance = 0.3;
  EXPECT_EQ(judge(input).kind, VerdictKind::kInconclusive);
}

TEST(JudgeTest, DataSetOfUnknownSizeCountsAsSubset) {
  VerdictInput input = whole(33070);
  input.num_reference = 0;
  EXPECT_EQ(judge(input).kind, VerdictKind::kInconclusive);
  EXPECT_THAT(judge(input).text, HasSubstr("of a data set of unknown size"));
}

TEST(JudgeTest, BaselineOffMeansTheWeightsDifferWhateverTheRowSays) {
  VerdictInput input = whole(33070);
  input.baseline_top1_pct = 71.13;  // 0.05 off: still the same
  EXPECT_EQ(judge(input).kind, VerdictKind::kPass);
  input.baseline_top1_pct = 73.42;
  EXPECT_EQ(judge(input).kind, VerdictKind::kWeightsDiffer);
  EXPECT_EQ(judge(input).text,
            "the float baseline, 73.42%, is 2.34 above the reference's 71.08%: the checkpoint's "
            "weights are not the "
            "reference's");
}

TEST(JudgeTest, BaselineOfASubsetIsNotHeldAgainstTheWeights) {
  VerdictInput input = whole(0);
  input.num_images = input.num_planned = 250;
  input.num_top1 = 165;
  input.baseline_top1_pct = 75;
  EXPECT_EQ(judge(input).kind, VerdictKind::kInconclusive);
}

TEST(JudgeTest, BrokenImagesAreNamedAndNotLaidOnTheWeights) {
  VerdictInput input = whole(33070);
  input.num_broken = 50;            // 0.1%
  input.baseline_top1_pct = 71.00;  // 0.08 below: the broken images may explain it
  EXPECT_EQ(judge(input).kind, VerdictKind::kPass);
  EXPECT_THAT(judge(input).text, HasSubstr("; 50 images could not be decoded and count as wrong"));
  input.baseline_top1_pct = 70.90;  // 0.18 below: they cannot
  EXPECT_EQ(judge(input).kind, VerdictKind::kWeightsDiffer);
}

TEST(JudgeTest, UnfinishedAndFailedComeBeforeAnyComparison) {
  VerdictInput input = whole(16500);
  input.num_images = 25000;
  EXPECT_EQ(judge(input).kind, VerdictKind::kUnfinished);
  EXPECT_THAT(judge(input).text, HasSubstr("25,000 of 50,000 images evaluated: 66.00% so far"));
  input.failed = true;
  EXPECT_EQ(judge(input).kind, VerdictKind::kFailed);
  EXPECT_EQ(judge(input).text, "failed after 25,000 of 50,000 images");
}

TEST(JudgeTest, NoReferenceIsSaidNotGuessed) {
  VerdictInput input = whole(33070);
  input.reference.reset();
  EXPECT_EQ(judge(input).kind, VerdictKind::kNoReference);
  EXPECT_EQ(judge(input).text, "no reference value to compare 66.14% with");
}

}  // namespace
}  // namespace squant::results
