// Outcomes by image, predictions and sums by class.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "results/store.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ClassesTest : public ::testing::Test {
 protected:
  std::int64_t plan(const std::vector<JobRow>& jobs) {
    const std::int64_t run = begin_sample_run(*store_);
    store_->add_dataset(sample_dataset());
    std::vector<Store::PlannedJob> planned;
    for (const JobRow& job : jobs) planned.push_back({job, {}});
    store_->add_jobs(run, planned);
    return run;
  }
  std::string sql(const std::string& text) { return plain_sql(path_, text); }
  std::string class_sums(const JobRow& job) {
    return sql(
        "SELECT sum(num_images) || ' ' || sum(num_top1) || ' ' || sum(num_top5) FROM classes"
        " WHERE identity = '" +
        job.identity + "'");
  }
  std::string conflict(const TileRow& tile) {
    try {
      store_->commit_tiles(std::vector{tile});
    } catch (const StoreConflict& error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.path("results.sqlite");
  std::unique_ptr<Store> store_ = Store::open_writer(path_);
  JobRow exact_ = sample_job("resnet18", "w4a4", "squant");
  JobRow inexact_ = sample_job("resnet18", "w4", "squant");
};

TEST_F(ClassesTest, CompleteJobHasSumsByClassThatAddUpToItsOwn) {
  const std::int64_t run = plan({exact_});
  const auto tiles = sample_tiles(exact_, run, 165);
  store_->commit_tiles(std::span(tiles).first(3));
  EXPECT_EQ(sql("SELECT count(*) FROM classes"), "0");
  store_->commit_tiles(std::span(tiles).last(1));
  EXPECT_EQ(class_sums(exact_), "1000 660 700");
  // Of each tile's 250 images the first 165 are right: of class 4 images 4, 14, ..., 164 of it.
  EXPECT_EQ(sql("SELECT class_name || ': ' || num_top1 || ' of ' || num_images || ', ' || "
                "round(top1_pct, 1) FROM classes WHERE class = 4"),
            "class 4: 68 of 100, 68.0");
  EXPECT_EQ(sql("SELECT num_top1 FROM classes WHERE class = 5"), "64");
}

TEST_F(ClassesTest, JobsThatShareTilesEachCountTheirOwnImagesOnce) {
  const JobRow small = sample_job("resnet18", "w4a4", "squant", 500);
  const std::int64_t run = plan({exact_, small});
  const auto tiles = sample_tiles(exact_, run, 165);
  store_->commit_tiles(tiles);
  store_->commit_tiles(tiles);
  EXPECT_EQ(class_sums(small), "500 330 350");
  EXPECT_EQ(class_sums(exact_), "1000 660 700");
  store_->forget(std::vector{small.identity});
  EXPECT_EQ(sql("SELECT count(*) FROM classes"), "0");
  store_->commit_tiles(std::span(tiles).first(2));
  EXPECT_EQ(class_sums(small), "500 330 350");
  EXPECT_EQ(class_sums(exact_), "1000 660 700");
}

TEST_F(ClassesTest, WithoutLabelsOrOutcomesThereAreNoSumsByClass) {
  const std::int64_t run = begin_sample_run(*store_);
  store_->add_jobs(run, std::vector<Store::PlannedJob>{{exact_, {}}, {inexact_, {}}});
  store_->commit_tiles(sample_tiles(exact_, run, 165));
  EXPECT_EQ(sql("SELECT count(*) FROM classes"), "0");
  store_->add_dataset(sample_dataset());
  auto tiles = sample_tiles(inexact_, run, 165);
  tiles[1].outcomes = "";
  store_->commit_tiles(tiles);
  EXPECT_EQ(sql("SELECT count(*) FROM classes"), "0");
  EXPECT_EQ(sql("SELECT num_top1 FROM results WHERE bits = 'w4'"), "660");
}

TEST_F(ClassesTest, LabelsAreAddedUpToTheLargestJobAndStay) {
  store_->add_dataset(sample_dataset(100));
  store_->add_dataset(sample_dataset(300));
  store_->add_dataset(sample_dataset(200));
  EXPECT_EQ(sql("SELECT count(*) || ' ' || max(image) || ' ' || sum(class) FROM label"),
            "300 299 1350");
  EXPECT_EQ(sql("SELECT count(*) FROM class"), "10");
}

TEST_F(ClassesTest, ImagesTellWhatEachWasTakenFor) {
  const std::int64_t run = plan({exact_});
  auto tiles = sample_tiles(exact_, run, 165);
  tiles[1].num_broken = 2;
  for (auto& tile : tiles) {
    set_outcomes(tile);
    set_predictions(tile);
  }
  store_->commit_tiles(tiles);
  const auto image = [&](int index) {
    return sql(
        "SELECT class_name || ' ' || outcome || ' ' || coalesce(predicted, '-') || ' ' || "
        "coalesce(predicted_name, '-') FROM images WHERE image = " +
        std::to_string(index));
  };
  EXPECT_EQ(image(3), "class 3 top1 3 class 3");
  EXPECT_EQ(image(169), "class 9 top5 0 class 0");
  EXPECT_EQ(image(200), "class 0 wrong 1 class 1");
  EXPECT_EQ(image(499), "class 9 broken - -");
  EXPECT_EQ(sql("SELECT count(*) || ' ' || sum(outcome = 'top1') || ' ' || sum(predicted = class)"
                " FROM images"),
            "1000 660 660");
}

TEST_F(ClassesTest, PredictionsAreAddedToAStoredTile) {
  const std::int64_t run = plan({exact_, inexact_});
  for (const JobRow& job : {exact_, inexact_}) {
    auto tiles = sample_tiles(job, run, 165);
    store_->commit_tiles(tiles);
    EXPECT_THAT(store_->job_state(job).predicted, IsEmpty());
    set_predictions(tiles[2]);
    store_->commit_tiles(tiles);
    EXPECT_THAT(store_->job_state(job).predicted, ElementsAre(TileRange{500, 250}));
    EXPECT_EQ(class_sums(job), "1000 660 700");
  }
  EXPECT_EQ(sql("SELECT count(*) FROM images WHERE predicted IS NOT NULL"), "500");
}

TEST_F(ClassesTest, SameDigestWithOtherImagesRightIsAFault) {
  const std::int64_t run = plan({exact_});
  auto tiles = sample_tiles(exact_, run, 165);
  set_predictions(tiles[0]);
  store_->commit_tiles(tiles);
  TileRow other = tiles[0];
  std::swap(other.outcomes.front(), other.outcomes.back());
  EXPECT_THAT(conflict(other), HasSubstr("but for other images: hardware or software fault"));
  other = tiles[0];
  other.predictions[200] = 7;
  EXPECT_THAT(conflict(other), HasSubstr("but for other images"));
  EXPECT_EQ(sql("SELECT count(*) FROM images WHERE predicted = 7 AND image = 200"), "0");
}

TEST_F(ClassesTest, WithoutDigestATileWithPredictionsTakesThePlaceOfOneWithout) {
  const std::int64_t run = plan({inexact_});
  store_->commit_tiles(sample_tiles(inexact_, run, 165));
  TileRow other = sample_tile(inexact_, run, 250, 170);
  store_->commit_tiles(std::vector{other});
  EXPECT_EQ(sql("SELECT num_top1 FROM results"), "660");
  set_predictions(other);
  store_->commit_tiles(std::vector{other});
  EXPECT_EQ(sql("SELECT num_top1 || ' ' || num_images || ' ' || verdict FROM results"),
            "665 1000 no reference");
  EXPECT_EQ(class_sums(inexact_), "1000 665 705");
  other = sample_tile(inexact_, run, 250, 180);
  set_predictions(other);
  store_->commit_tiles(std::vector{other});
  EXPECT_EQ(sql("SELECT num_top1 FROM results"), "665");
}

TEST_F(ClassesTest, OutcomesThatAreNotThoseOfTheCountsAreRefused) {
  const std::int64_t run = plan({exact_});
  for (const auto change : {+[](TileRow& tile) { tile.outcomes.back() = '1'; },
                            +[](TileRow& tile) { tile.outcomes += '0'; },
                            +[](TileRow& tile) { tile.outcomes.back() = 'x'; },
                            +[](TileRow& tile) {
                              tile.predictions = {1, 2};
                            }}) {
    TileRow tile = sample_tile(exact_, run, 0, 165);
    change(tile);
    EXPECT_THROW(store_->commit_tiles(std::vector{tile}), StoreError);
  }
  EXPECT_EQ(sql("SELECT count(*) FROM tile"), "0");
}

TEST_F(ClassesTest, JobThatIsCompleteInOtherTilesKeepsThemWithoutPredictions) {
  std::int64_t run = plan({exact_});
  auto tiles = sample_tiles(exact_, run, 165);
  store_->commit_tiles(tiles);
  JobRow coarse = exact_;
  coarse.chunk = 500;
  EXPECT_TRUE(store_->job_state(coarse).predictions_need_force);
  EXPECT_FALSE(store_->job_state(exact_).predictions_need_force);
  for (auto& tile : tiles) set_predictions(tile);
  store_->commit_tiles(tiles);
  EXPECT_FALSE(store_->job_state(coarse).predictions_need_force);
  EXPECT_THAT(store_->job_state(coarse).predicted,
              ElementsAre(TileRange{0, 500}, TileRange{500, 500}));
}

TEST_F(ClassesTest, ForgettingAJobForgetsItsPredictions) {
  const std::int64_t run = plan({exact_});
  auto tiles = sample_tiles(exact_, run, 165);
  for (auto& tile : tiles) set_predictions(tile);
  store_->commit_tiles(tiles);
  EXPECT_EQ(sql("SELECT count(*) FROM prediction"), "4");
  store_->forget(std::vector{exact_.identity});
  EXPECT_EQ(sql("SELECT count(*) FROM prediction"), "0");
}

}  // namespace
}  // namespace squant::results
