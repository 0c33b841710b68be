#include "results/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <chrono>
#include <span>

#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// What `body` throws as a StoreError; empty where it throws nothing.
template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const StoreError& error) {
    return error.what();
  }
  return {};
}

class StoreTest : public ::testing::Test {
 protected:
  void open() { store_ = Store::open_writer(path_); }
  void reopen() {
    store_.reset();
    open();
  }
  std::int64_t plan(std::vector<Store::PlannedJob> jobs, const std::string& name = "sample") {
    const std::int64_t run_id = begin_sample_run(*store_, name);
    store_->add_jobs(run_id, jobs);
    return run_id;
  }
  ResultRow result(const JobRow& job) {
    const auto rows = store_->results(std::vector{job.identity});
    EXPECT_EQ(rows.size(), 1U);
    return rows.at(0);
  }

  TemporaryFolder folder_;
  std::string path_ = folder_.path("results.sqlite");
  std::unique_ptr<Store> store_ = Store::open_writer(path_);
};

TEST_F(StoreTest, ResultAddsUpTilesAndTheirDigestHalves) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, ReferenceValue{66.0, 0.2, "table 1", {}}}});
  auto tiles = sample_tiles(job, run, 165);
  tiles[0].digest = "ffffffffffffffff0000000000000001";
  store_->commit_tiles(tiles);
  const ResultRow row = result(job);
  EXPECT_EQ(row.num_images, 1000);
  EXPECT_EQ(row.num_top1, 660);
  EXPECT_EQ(row.num_top5, 700);
  EXPECT_DOUBLE_EQ(row.top1_pct, 66.0);
  // 250 + 500 + 750 = 1500 = 0x5dc in both halves, and the first tile's -1 and 1.
  EXPECT_EQ(row.digest, "00000000000005db00000000000005dd");
  EXPECT_EQ(row.verdict, "pass");
  EXPECT_DOUBLE_EQ(row.images_per_s.value(), 2500);
}

TEST_F(StoreTest, JobStateNamesTheTilesThatAreStored) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant", 1100);
  const std::int64_t run = plan({{job, {}}});
  store_->commit_tiles(
      std::vector{sample_tile(job, run, 1000, 50), sample_tile(job, run, 250, 100)});
  reopen();
  EXPECT_THAT(store_->job_state(job).finished,
              ElementsAre(TileRange{250, 250}, TileRange{1000, 100}));
}

TEST_F(StoreTest, PlainSqlReadsTheResultsView) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  store_->add_preparation(sample_preparation(job, run));
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_EQ(
      plain_sql(path_,
                "SELECT model || ' ' || bits || ' ' || mode || ' ' || num_top1 || ' ' || digest ||"
                " ' ' || verdict FROM results"),
      "resnet18 w4a4 squant 660 00000000000005dc00000000000005dc no reference");
}

TEST_F(StoreTest, DigestIsOnlyThereWhenTheJobIsCompleteAndAllTilesHaveOne) {
  const JobRow exact = sample_job("resnet18", "w4a4", "squant");
  const JobRow inexact = sample_job("resnet18", "w4", "squant");
  const std::int64_t run = plan({{exact, {}}, {inexact, {}}});
  auto tiles = sample_tiles(exact, run, 165);
  store_->commit_tiles(std::span(tiles).first(3));
  EXPECT_FALSE(result(exact).digest);
  store_->commit_tiles(std::span(tiles).last(1));
  EXPECT_TRUE(result(exact).digest);
  store_->commit_tiles(sample_tiles(inexact, run, 165));
  EXPECT_EQ(result(inexact).num_images, 1000);
  EXPECT_FALSE(result(inexact).digest);
}

TEST_F(StoreTest, DigestOfAJobDoesNotDependOnTheOrderOrTheCutOfItsTiles) {
  const JobRow coarse = sample_job("resnet18", "w4a4", "squant", 1000, 1000);
  const JobRow fine = sample_job("resnet50", "w4a4", "squant", 1000, 100);
  const std::int64_t run = plan({{coarse, {}}, {fine, {}}});
  auto whole = sample_tile(coarse, run, 0, 500);
  whole.digest = "fffffffffffffff0ffffffffffffffff";
  store_->commit_tiles(std::vector{whole});
  auto tiles = sample_tiles(fine, run, 50);
  for (auto& tile : tiles) tile.digest = "0FFFFFFFFFFFFFFF0fffffffffffffff";
  tiles.back().digest = "6ffffffffffffff96000000000000008";
  std::reverse(tiles.begin(), tiles.end());
  for (const auto& tile : tiles) store_->commit_tiles(std::vector{tile});
  // 9 * 0x0fffffffffffffff + 0x6ffffffffffffff9 and ... + 0x6000000000000008, modulo 2^64.
  EXPECT_EQ(result(fine).digest, "fffffffffffffff0efffffffffffffff");
  EXPECT_EQ(result(coarse).digest, whole.digest);
}

TEST_F(StoreTest, JobsOfOneEvaluationShareTilesAndCountNoneTwice) {
  const JobRow small =
      sample_job("resnet18", "w4a4", "squant", 600);  // tiles 0, 250, and 500 of 100 images
  const JobRow large = sample_job("resnet18", "w4a4", "squant", 1000);  // tiles 0, 250, 500, 750
  ASSERT_EQ(small.evaluation, large.evaluation);
  ASSERT_NE(small.identity, large.identity);
  const std::int64_t run = plan({{small, {}}, {large, {}}});
  store_->commit_tiles(sample_tiles(small, run, 60));
  EXPECT_EQ(result(small).num_top1, 180);
  EXPECT_EQ(result(large).num_images, 500);
  EXPECT_THAT(store_->job_state(large).finished,
              ElementsAre(TileRange{0, 250}, TileRange{250, 250}));
  store_->commit_tiles(
      std::vector{sample_tile(large, run, 500, 70), sample_tile(large, run, 750, 70)});
  EXPECT_EQ(result(small).num_top1, 180);
  EXPECT_EQ(result(small).num_images, 600);
  EXPECT_EQ(result(large).num_top1, 260);
  EXPECT_EQ(result(large).num_images, 1000);
}

TEST_F(StoreTest, LaterJobFindsTheTilesOfAnEarlierOne) {
  const JobRow small = sample_job("resnet18", "w4a4", "squant", 500);
  const std::int64_t run = plan({{small, {}}});
  store_->commit_tiles(sample_tiles(small, run, 60));
  const JobRow large = sample_job("resnet18", "w4a4", "squant", 1000);
  plan({{large, {}}}, "second");
  EXPECT_EQ(result(large).num_images, 500);
  EXPECT_EQ(result(large).num_top1, 120);
}

TEST_F(StoreTest, AnotherChunkSizeDropsPartialWorkFromViewButKeepsACompleteJob) {
  const JobRow first = sample_job("resnet18", "w4a4", "squant", 1000, 250);
  const JobRow second = sample_job("resnet18", "w4a4", "squant", 1000, 500);
  ASSERT_EQ(first.identity, second.identity);
  std::int64_t run = plan({{first, {}}});
  store_->commit_tiles(std::vector{sample_tile(first, run, 0, 100)});
  run = plan({{second, {}}});
  EXPECT_EQ(result(second).num_images, 0);
  EXPECT_TRUE(store_->job_state(second).finished.empty());
  store_->commit_tiles(sample_tiles(second, run, 200));
  EXPECT_EQ(result(second).num_top1, 400);
  plan({{first, {}}});
  EXPECT_EQ(result(first).num_top1, 400);
  EXPECT_EQ(store_->job_state(first).finished.size(), 4U);  // all of the grid that was asked for
}

TEST_F(StoreTest, SameTileAgainIsIgnored) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  const auto tiles = sample_tiles(job, run, 165);
  store_->commit_tiles(tiles);
  store_->commit_tiles(tiles);
  store_->commit_tiles(std::vector{tiles[0], tiles[0]});
  EXPECT_EQ(result(job).num_top1, 660);
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM tile"), "4");
}

TEST_F(StoreTest, SameTileWithAnotherDigestIsAFaultAndNothingOfTheBatchIsStored) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  store_->add_worker(sample_worker(run, 1));
  auto tiles = sample_tiles(job, run, 165);
  store_->commit_tiles(std::span(tiles).first(1));
  tiles[0].digest = "00000000000000000000000000000001";
  tiles[0].rank = 1;
  const std::string error = error_of([&] {
    store_->commit_tiles(std::vector{tiles[1], tiles[0]});
  });
  EXPECT_THAT(
      error,
      HasSubstr(
          "images [0, 250) of evaluation evaluation resnet18 w4a4 squant came out differently"));
  EXPECT_THAT(error, HasSubstr("digest 00000000000000000000000000000000; run 1 rank 1 got"));
  EXPECT_THAT(error, HasSubstr("hardware or software fault"));
  EXPECT_THROW(store_->commit_tiles(std::vector{tiles[0]}), StoreConflict);
  EXPECT_EQ(result(job).num_images, 250);
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM tile"), "1");
  // The same digest with other counts is as wrong.
  tiles = sample_tiles(job, run, 165);
  tiles[0].num_top1 = 164;
  set_outcomes(tiles[0]);
  EXPECT_THAT(error_of([&] { store_->commit_tiles(std::span(tiles).first(1)); }),
              HasSubstr("came out differently"));
}

TEST_F(StoreTest, OfTwoTilesWithoutDigestTheFirstOneStays) {
  const JobRow job = sample_job("resnet18", "float", "float");
  const std::int64_t run = plan({{job, {}}});
  store_->commit_tiles(std::vector{sample_tile(job, run, 0, 100)});
  store_->commit_tiles(std::vector{sample_tile(job, run, 0, 101)});
  EXPECT_EQ(result(job).num_top1, 100);
}

TEST_F(StoreTest, UnknownRunsWorkersAndJobsAreRefused) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  EXPECT_THAT(
      error_of([&] { store_->commit_tiles(std::vector{sample_tile(job, run, 0, 100, 7)}); }),
      HasSubstr("a run, worker or job is not known"));
  EXPECT_THAT(error_of([&] {
                store_->commit_tiles(sample_tiles(sample_job("vgg", "w4a4", "squant"), run, 1));
              }),
              HasSubstr("add_jobs() comes first"));
  EXPECT_NE(error_of([&] { store_->add_failure({"nobody", run, 0, "reason", "", ""}); }), "");
  EXPECT_NE(error_of([&] {
              store_->add_jobs(run + 1, std::vector<Store::PlannedJob>{{job, {}}});
            }),
            "");
}

TEST_F(StoreTest, ImpossibleCountsAreRefused) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  for (auto change :
       {+[](TileRow& tile) { tile.num_top1 = 251; }, +[](TileRow& tile) { tile.num_top5 = 99; },
        +[](TileRow& tile) { tile.num_broken = -1; }, +[](TileRow& tile) { tile.first = -250; }}) {
    TileRow tile = sample_tile(job, run, 0, 100);
    change(tile);
    EXPECT_THAT(error_of([&] { store_->commit_tiles(std::vector{tile}); }),
                HasSubstr("a count is impossible"));
  }
  TileRow tile = sample_tile(job, run, 0, 100);
  tile.digest = "not hexadecimal, but 32 letters!";
  EXPECT_THAT(error_of([&] { store_->commit_tiles(std::vector{tile}); }),
              HasSubstr("a digest has 32 hex digits"));
  EXPECT_EQ(result(job).num_images, 0);
}

TEST_F(StoreTest, PreparationComesBackAndIsStoredOnce) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  EXPECT_FALSE(store_->job_state(job).preparation);
  PreparationRow preparation = sample_preparation(job, run);
  store_->add_preparation(preparation);
  store_->add_preparation(preparation);
  reopen();
  const auto stored = store_->job_state(job).preparation;
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->ranges_json, preparation.ranges_json);
  EXPECT_EQ(stored->num_weights, 1200);
  EXPECT_EQ(stored->quantize_device, "cpu");
  EXPECT_EQ(result(job).quantize_ms, 1.25);
  EXPECT_EQ(plain_sql(path_, "SELECT group_concat(name || ' ' || num_weights) FROM layers"),
            "features.conv 270,output.linear 930");
  preparation.ranges_json = "[[-1.5,2.5],[0,6]]";
  EXPECT_THAT(error_of([&] { store_->add_preparation(preparation); }),
              HasSubstr("other activation ranges"));
}

TEST_F(StoreTest, FloatNetworkHasNoTimeToQuantize) {
  const JobRow job = sample_job("resnet18", "float", "float");
  const std::int64_t run = plan({{job, {}}});
  store_->add_preparation(sample_preparation(job, run));
  EXPECT_FALSE(result(job).quantize_ms);
}

TEST_F(StoreTest, JobWithoutImagesIsCompleteOnceItIsPrepared) {
  JobRow job = sample_job("resnet18", "w4", "squant", 0, 0);
  const std::int64_t run = plan({{job, {}}});
  EXPECT_EQ(result(job).verdict, "unfinished");
  store_->add_preparation(sample_preparation(job, run));
  EXPECT_EQ(result(job).verdict, "no reference");
  EXPECT_EQ(result(job).verdict_text, "quantized and timed, no images evaluated");
  EXPECT_EQ(result(job).quantize_ms, 1.25);
}

TEST_F(StoreTest, FailureStandsUntilALaterRunMakesProgress) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  std::int64_t run = plan({{job, {}}});
  store_->commit_tiles(std::vector{sample_tile(job, run, 0, 100)});
  store_->add_failure({job.identity, run, 0, "out of memory", "the last lines", ""});
  EXPECT_EQ(result(job).verdict, "failed");
  EXPECT_EQ(result(job).verdict_text, "failed after 250 of 1,000 images: out of memory");
  EXPECT_EQ(store_->job_state(job).failure->log_tail, "the last lines");
  store_->commit_tiles(
      std::vector{sample_tile(job, run, 250, 100)});  // was under way when the job failed
  EXPECT_EQ(result(job).failure, "out of memory");
  run = plan({{job, {}}}, "again");
  EXPECT_EQ(result(job).verdict, "failed");
  store_->commit_tiles(std::vector{sample_tile(job, run, 500, 100)});
  EXPECT_EQ(result(job).verdict, "unfinished");
  EXPECT_EQ(result(job).verdict_text, "750 of 1,000 images evaluated");
  EXPECT_FALSE(store_->job_state(job).failure);
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM failures WHERE cleared_at IS NOT NULL"), "1");
}

TEST_F(StoreTest, CompletionClearsAFailure) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  store_->add_failure({job.identity, run, 0, "worker died", "", ""});
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_EQ(result(job).verdict, "no reference");
  EXPECT_EQ(result(job).failure, "");
}

TEST_F(StoreTest, VerdictOfEachRunIsOfItsOwnReference) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t strict = plan({{job, ReferenceValue{66.5, 0.2, "strict", {}}}});
  store_->commit_tiles(sample_tiles(job, strict, 165));
  EXPECT_EQ(result(job).verdict, "fail");
  const std::int64_t lenient = plan({{job, ReferenceValue{66.5, 1.0, "lenient", {}}}});
  EXPECT_EQ(result(job).verdict, "pass");
  plan({{job, {}}});  // a run without a reference does not hide the verdict
  EXPECT_EQ(result(job).verdict, "pass");
  EXPECT_EQ(result(job).run_id, lenient);
  EXPECT_EQ(
      plain_sql(path_,
                "SELECT group_concat(verdict) FROM (SELECT verdict FROM verdicts ORDER BY run_id)"),
      "fail,pass,no reference");
}

TEST_F(StoreTest, FinishedFloatJobOfTheSameWeightsTurnsVerdictsIntoWeightsDiffer) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const JobRow baseline = sample_job("resnet18", "float", "float");
  const JobRow other = sample_job("resnet50", "w4a4", "squant");
  const std::int64_t run = plan({{job, ReferenceValue{66, 0.2, "table 1", 71.0}},
                                 {baseline, ReferenceValue{71, 0.2, "table 1", 71.0}},
                                 {other, ReferenceValue{66, 0.2, "table 1", 71.0}}});
  store_->commit_tiles(sample_tiles(job, run, 165));
  store_->commit_tiles(sample_tiles(other, run, 165));
  EXPECT_EQ(result(job).verdict, "pass");
  store_->commit_tiles(sample_tiles(baseline, run, 180));  // 72%
  EXPECT_EQ(result(job).verdict, "weights differ");
  EXPECT_EQ(result(baseline).verdict, "weights differ");
  EXPECT_EQ(result(other).verdict, "pass");
  store_->forget(std::vector{baseline.identity});
  EXPECT_EQ(result(job).verdict, "pass");
}

TEST_F(StoreTest, SubsetIsJudgedAsOne) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant", 500);
  const std::int64_t run = plan({{job, ReferenceValue{66.5, 0.2, "table 1", {}}}});
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_EQ(result(job).verdict, "inconclusive");
  EXPECT_THAT(result(job).verdict_text, HasSubstr("on 500 of 1,000 images"));
}

TEST_F(StoreTest, VerdictsCanBeStoredAnew) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, ReferenceValue{66.0, 0.2, "table 1", {}}}});
  store_->commit_tiles(sample_tiles(job, run, 165));
  ASSERT_EQ(plain_sql(path_, "UPDATE run_job SET verdict = 'fail'"), "");
  store_->update_verdicts(run, std::vector{job.identity});
  EXPECT_EQ(result(job).verdict, "pass");
}

TEST_F(StoreTest, ForgettingMakesAJobAndThoseThatShareItsTilesUnfinished) {
  const JobRow small = sample_job("resnet18", "w4a4", "squant", 500);
  const JobRow large = sample_job("resnet18", "w4a4", "squant", 1000);
  const JobRow other = sample_job("resnet50", "w4a4", "squant");
  const std::int64_t run = plan({{small, {}}, {large, {}}, {other, {}}});
  store_->add_preparation(sample_preparation(large, run));
  store_->commit_tiles(sample_tiles(large, run, 165));
  store_->commit_tiles(sample_tiles(other, run, 165));
  store_->forget(std::vector{small.identity});
  EXPECT_EQ(result(small).verdict, "unfinished");
  EXPECT_EQ(result(small).num_images, 0);
  EXPECT_EQ(result(large).num_images, 500);
  EXPECT_EQ(result(large).verdict, "unfinished");
  EXPECT_EQ(result(other).num_images, 1000);
  EXPECT_FALSE(store_->job_state(small).preparation);
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM layers"), "0");
}

TEST_F(StoreTest, JobStateOfAJobNobodyKnowsIsEmpty) {
  const JobState state = store_->job_state(sample_job("resnet18", "w4a4", "squant"));
  EXPECT_TRUE(state.finished.empty());
  EXPECT_FALSE(state.preparation);
  EXPECT_FALSE(state.failure);
}

TEST_F(StoreTest, IdentityThatDoesNotCoverTheNumberOfImagesIsRefused) {
  JobRow job = sample_job("resnet18", "w4a4", "squant", 1000);
  plan({{job, {}}});
  job.num_images = 500;
  EXPECT_THAT(error_of([&] { plan({{job, {}}}); }), HasSubstr("its identity does not cover them"));
}

TEST_F(StoreTest, RunsComeBackAsTheyWere) {
  RunRow run = sample_run("table1");
  run.git_dirty = true;
  run.slurm_job = "4711";
  const std::int64_t id = store_->begin_run(run);
  RunRow stored = store_->runs().at(0);
  EXPECT_EQ(stored.id, id);
  EXPECT_EQ(stored.experiment_name, "table1");
  EXPECT_TRUE(stored.git_dirty);
  EXPECT_EQ(stored.slurm_job, "4711");
  EXPECT_EQ(stored.started_at, run.started_at);
  EXPECT_EQ(stored.finished_at, "");
  EXPECT_EQ(stored.exit_code, -1);
  EXPECT_EQ(stored.uuid.size(), 32U);
  store_->finish_run(id, 3);
  stored = store_->runs().at(0);
  EXPECT_EQ(stored.exit_code, 3);
  EXPECT_THAT(stored.finished_at, ::testing::MatchesRegex("20..-..-..T..:..:..\\....Z"));
}

TEST_F(StoreTest, ProvenanceNamesEveryRunAndWorkerOfAJob) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant", 1000, 250);
  const std::int64_t first = plan({{job, {}}}, "first");
  store_->add_worker(sample_worker(first, 1));
  store_->commit_tiles(std::vector{sample_tile(job, first, 0, 100),
                                   sample_tile(job, first, 250, 100),
                                   sample_tile(job, first, 500, 100, 1)});
  const std::int64_t second = plan({{job, {}}}, "second");
  store_->commit_tiles(std::vector{sample_tile(job, second, 750, 100)});
  EXPECT_EQ(plain_sql(path_,
                      "SELECT group_concat(run_id || '/' || rank || ':' || num_tiles || ' ' || "
                      "num_images || ' '"
                      " || pid || ' ' || experiment_name, '; ') FROM provenance"),
            "1/0:2 500 4711 first; 1/1:1 250 4712 first; 2/0:1 250 4711 second");
  EXPECT_EQ(plain_sql(path_,
                      "SELECT DISTINCT git_commit || compiler || libraries || device_name || "
                      "checkpoint_sha256 ||"
                      " checkpoint_path || dataset_fingerprint FROM provenance"),
            "0123456789abcdef0123456789abcdef01234567GNU 12.2.0LibTorch 2.11.0, SQLite 3.40.1AMD "
            "EPYC 9454"
            "sha256 of resnet18/data/resnet18.safetensorsfingerprint of imagenet");
}

TEST_F(StoreTest, ViewsGiveHandComputedValues) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant", 600, 250);
  const std::int64_t run = plan({{job, ReferenceValue{25, 0.5, "table 1", {}}}});
  auto tiles = sample_tiles(job, run, 50);
  tiles[2].num_broken = 3;
  set_outcomes(tiles[2]);
  store_->commit_tiles(tiles);
  // 150 of 600: 25%; top-5 60 of each: 180, 30%. Wilson: p = 0.25, n = 600: 21.70 to 28.62.
  EXPECT_EQ(
      plain_sql(
          path_,
          "SELECT num_images || ' ' || num_top1 || ' ' || num_top5 || ' ' || top1_pct || ' ' ||"
          " top5_pct || ' ' || round(ci_low_pct, 2) || ' ' || round(ci_high_pct, 2) || ' ' ||"
          " num_broken || ' ' || compute_ms || ' ' || images_per_s FROM results"),
      "600 150 180 25.0 30.0 21.7 28.62 3 300.0 2000.0");
  EXPECT_EQ(plain_sql(path_, "SELECT verdict_text FROM results"),
            "25.00% is equal to the reference's 25.00% on 600 of 1,000 images: 95% interval 21.70 "
            "to 28.62 does not "
            "exclude it; 3 images could not be decoded and count as wrong");
  EXPECT_EQ(plain_sql(path_, "SELECT num_jobs || ' ' || num_complete FROM runs"), "1 1");
  EXPECT_EQ(plain_sql(path_, "SELECT sum(count) || ' ' || sum(load_ms) FROM tiles"), "600 60.0");
}

TEST_F(StoreTest, EmptyViewsHaveNoRows) {
  for (const char* view : {"results", "verdicts", "layers", "provenance", "classes", "images",
                           "tiles", "failures", "runs"}) {
    EXPECT_EQ(plain_sql(path_, std::string("SELECT count(*) FROM ") + view), "0") << view;
  }
}

TEST_F(StoreTest, ReaderSeesWhatIsCommittedAndCannotWrite) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  const auto reader = Store::open_reader(path_);
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_EQ(reader->results().at(0).num_top1, 660);
  EXPECT_THAT(error_of([&] { reader->heartbeat(); }), HasSubstr("opened for reading"));
}

TEST_F(StoreTest, ReaderInTheMiddleOfAReadNeverBlocksTheWriter) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  sqlite3* reader = nullptr;
  ASSERT_EQ(sqlite3_open_v2(path_.c_str(), &reader, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(reader, "BEGIN; SELECT * FROM results", nullptr, nullptr, nullptr),
            SQLITE_OK);
  const auto start = std::chrono::steady_clock::now();
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_LT(std::chrono::steady_clock::now() - start,
            std::chrono::seconds(4));  // the busy timeout is 5
  sqlite3_close(reader);
  EXPECT_EQ(result(job).num_top1, 660);
}

TEST_F(StoreTest, BatchesThatHoldATileOfEachJobAddUpForEachJob) {
  std::vector<Store::PlannedJob> jobs;
  for (int i = 0; i < 100; ++i) {
    jobs.push_back({sample_job("model" + std::to_string(i), "w4a4", "squant", 1000, 100),
                    ReferenceValue{60, 0.2, "", {}}});
  }
  const std::int64_t run = plan(jobs);
  for (std::int64_t first = 0; first < 1000; first += 100) {
    std::vector<TileRow> batch;
    for (const auto& planned : jobs) batch.push_back(sample_tile(planned.job, run, first, 60));
    store_->commit_tiles(batch);
  }
  for (const ResultRow& row : store_->results()) {
    EXPECT_EQ(row.num_top1, 600) << row.job.model;
    EXPECT_EQ(row.verdict, "pass") << row.job.model;
  }
}

}  // namespace
}  // namespace squant::results
