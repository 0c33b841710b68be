#include "runner/image_finder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

namespace squant::runner {
namespace {

// Dies of certain images, or of any.
class DyingExecutor final : public TaskExecutor {
 public:
  void start(Work work) override {
    ++num_tries;
    work_ = std::move(work);
  }
  std::optional<WorkResult> poll() override {
    if (!work_) return std::nullopt;
    const Work work = *std::exchange(work_, std::nullopt);
    now += 1;
    const auto* tile = std::get_if<TileWork>(&work);
    if (tile == nullptr) return WorkFailed{"died", FailureKind::kDied};
    bool dies = num_tries <= num_tries_to_die;
    for (const std::int64_t image : deadly)
      dies = dies || (image >= tile->first && image < tile->first + tile->count);
    if (dies) return WorkFailed{"died", FailureKind::kDied};
    return eval::Evaluator::Tile{};
  }
  bool busy() const override { return work_.has_value(); }
  void wait(double) override {}

  std::set<std::int64_t> deadly;
  int num_tries_to_die = 0;
  int num_tries = 0;
  double now = 0;

 private:
  std::optional<Work> work_;
};

class ImageFinderTest : public testing::Test {
 protected:
  std::string reason_of(const Work& work, double patience_s = 60) {
    ImageFinder finder(
        executor_, [this] { return executor_.now; }, patience_s);
    finder.start(work);
    for (int step = 0; step < 1000; ++step) {
      EXPECT_TRUE(finder.busy());
      if (auto result = finder.poll()) {
        EXPECT_FALSE(finder.busy());
        if (!std::holds_alternative<WorkFailed>(*result)) return "";
        EXPECT_EQ(std::get<WorkFailed>(*result).kind, FailureKind::kDied);
        return std::get<WorkFailed>(*result).reason;
      }
    }
    return "does not end";
  }
  static TileWork tile(std::int64_t first, std::int64_t count, std::size_t num_jobs = 1) {
    TileWork work;
    work.first = first;
    work.count = count;
    work.jobs.resize(num_jobs);
    return work;
  }
  DyingExecutor executor_;
};

TEST_F(ImageFinderTest, EachImageOfATileIsFoundInALogarithmOfTries) {
  for (std::int64_t image = 100; image < 137; ++image) {
    executor_.deadly = {image};
    executor_.num_tries = 0;
    EXPECT_EQ(reason_of(tile(100, 37)), "died; image " + std::to_string(image) + " alone does it");
    EXPECT_LE(executor_.num_tries, 9);
  }
}

TEST_F(ImageFinderTest, AJobThatDiesOfAnyImageBlamesNone) {
  for (std::int64_t image = 0; image < 20; ++image) executor_.deadly.insert(image);
  EXPECT_EQ(reason_of(tile(0, 20)), "died; other images of the tile do it too");
}

TEST_F(ImageFinderTest, WhatDoesNotHappenAgainBlamesNone) {
  executor_.num_tries_to_die = 1;
  EXPECT_EQ(reason_of(tile(0, 20)), "died");
}

TEST_F(ImageFinderTest, OnlyTheDeathOfASingleJobsTileIsLookedInto) {
  executor_.deadly = {5};
  EXPECT_EQ(reason_of(tile(0, 20, 2)), "died");
  EXPECT_EQ(reason_of(tile(5, 1)), "died");
  EXPECT_EQ(reason_of(PreparationWork{}), "died");
  EXPECT_EQ(reason_of(tile(10, 5)), "");
  EXPECT_EQ(executor_.num_tries, 4);
}

TEST_F(ImageFinderTest, AnImageThatWasFoundIsNotLookedForAgain) {
  executor_.deadly = {5};
  ImageFinder finder(executor_, [this] { return executor_.now; });
  for (const char* expected :
       {"died; image 5 alone does it", "died; image 5 alone did it before"}) {
    finder.start(tile(0, 20));
    std::optional<WorkResult> result;
    while (!(result = finder.poll())) {
    }
    EXPECT_EQ(std::get<WorkFailed>(*result).reason, expected);
  }
}

TEST_F(ImageFinderTest, TheSearchEndsWithItsPatience) {
  executor_.deadly = {5};
  EXPECT_EQ(reason_of(tile(0, 1 << 20), 8), "died");
  EXPECT_LE(executor_.num_tries, 12);
  executor_.num_tries = 0;
  EXPECT_EQ(reason_of(tile(0, 20), 0.5), "died") << "as a hang, it took too long at once";
  EXPECT_EQ(executor_.num_tries, 1);
}

}  // namespace
}  // namespace squant::runner
