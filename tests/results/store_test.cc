#include "results/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  store_->commit_tiles(std::vector{sample_tile(job, run, 1000, 50), sample_tile(job, run, 250, 100)});
  reopen();
  EXPECT_THAT(store_->job_state(job).finished, ElementsAre(TileRange{250, 250}, TileRange{1000, 100}));
}

TEST_F(StoreTest, PlainSqlReadsTheResultsView) {
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = plan({{job, {}}});
  store_->add_preparation(sample_preparation(job, run));
  store_->commit_tiles(sample_tiles(job, run, 165));
  EXPECT_EQ(plain_sql(path_, "SELECT model || ' ' || bits || ' ' || mode || ' ' || num_top1 || ' ' || digest ||"
                             " ' ' || verdict FROM results"),
            "resnet18 w4a4 squant 660 00000000000005dc00000000000005dc no reference");
}

}  // namespace
}  // namespace squant::results
