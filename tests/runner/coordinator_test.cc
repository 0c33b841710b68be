#include "runner/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace squant::runner {
namespace {

using testing::HasSubstr;
using testing::Not;

// A database in memory that can be told to fail.
class FakeStore final : public results::Store {
 public:
  std::int64_t begin_run(const results::RunRow&) override { return 1; }
  void finish_run(std::int64_t, int) override {}
  void add_worker(const results::WorkerRow& worker) override { workers.push_back(worker); }
  void add_dataset(const results::DatasetRow&) override {}
  void add_jobs(std::int64_t, std::span<const PlannedJob>) override {}
  void add_preparation(const results::PreparationRow& row) override { preparations.push_back(row); }
  void commit_tiles(std::span<const results::TileRow> rows) override {
    for (const results::TileRow& row : rows) {
      if (before_commit) before_commit(row);
    }
    tiles.insert(tiles.end(), rows.begin(), rows.end());
  }
  void add_failure(const results::FailureRow& row) override { failures.push_back(row); }
  void heartbeat() override {
    if (taken_over) throw results::StoreLocked("taken over by host b");
  }
  void update_verdicts(std::int64_t, std::span<const std::string>) override {}
  void forget(std::span<const std::string>) override {}
  results::JobState job_state(const results::JobRow&) override { return state; }
  std::vector<results::ResultRow> results(std::span<const std::string>) override { return {}; }
  std::vector<results::RunRow> runs() override { return {}; }

  std::function<void(const results::TileRow&)> before_commit;
  bool taken_over = false;
  results::JobState state;
  std::vector<results::WorkerRow> workers;
  std::vector<results::PreparationRow> preparations;
  std::vector<results::TileRow> tiles;
  std::vector<results::FailureRow> failures;
};

// Two jobs on two tiles, one coordinator, and the test as the worker of rank 1.
class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    spdlog::set_level(spdlog::level::off);
    auto [own, other] = LoopbackTransport::make_pair(0, 1);
    coordinator_end_ = std::move(own);
    worker_end_ = std::move(other);
    plan_.datasets.push_back(
        {"tiny", {"idx", "images", "labels", ""}, "ff", 150, 150, 100, {}, {}});
    for (const char* name : {"a", "b"}) {
      PlannedJob& job = plan_.jobs.emplace_back();
      job.job.model = "fmnist_resnet";
      job.label = name;
      job.row.identity = std::string("identity-") + name;
      job.row.evaluation = std::string("evaluation-") + name;
      job.row.num_images = 150;
      job.row.chunk = 100;
    }
    inventory_ = take_inventory(plan_, nullptr, {});
    CoordinatorOptions options;
    options.program = "1.0";
    options.scheduler.heartbeat_timeout_s = 10;
    options.scheduler.num_workers = 1;
    options.store_patience_s = 20;
    coordinator_.emplace(*coordinator_end_, options,
                         [this](const std::string& line) { said_ += line + "\n"; });
  }

  // One that distributes files over MPI, or over NCCL if it has `num_workers` that can.
  void with_files(int num_workers) {
    files_.emplace(*coordinator_end_, MpiMember{0, 0, "node0", "/nonexistent"}, RelayOptions{});
    CoordinatorOptions options;
    options.program = "1.0";
    options.scheduler.heartbeat_timeout_s = 10;
    options.files = &*files_;
    options.broadcast.num_workers = num_workers;
    options.broadcast.patience_s = 30;
    const std::string checkpoint = std::string(SQUANT_TESTS_DATA_DIR) + "/checkpoints/dict_zip.pth";
    for (PlannedJob& job : plan_.jobs) job.job.checkpoint = checkpoint;
    coordinator_.emplace(*coordinator_end_, options,
                         [this](const std::string& line) { said_ += line + "\n"; });
  }
  void begin() { coordinator_->begin(store_, plan_, inventory_, {}, 1, now_); }
  void tell(const Message& message) { worker_end_->send(0, encode(message)); }
  static Hello hello(const std::string& program) {
    Hello hello;
    hello.program = program;
    hello.host = "node1";
    hello.num_threads = 4;
    return hello;
  }
  // Lets the coordinator work, and does as a worker what it asks for.
  void run(double seconds) {
    for (const double end = now_ + seconds; now_ < end && !coordinator_->ending(); now_ += 0.1) {
      coordinator_->step(now_);
      if (!alive_) continue;
      while (const auto envelope = worker_end_->receive()) {
        std::visit([this](const auto& message) { work(message); }, decode(envelope->bytes));
      }
      tell(Beat{0});
    }
  }
  template <typename Other>
  void work(const Other&) {
    ++num_received_;
  }
  void work(const DatasetInfo& message) { datasets_.push_back(message.spec); }
  void work(const PrepareTask& task) {
    if (!can_work_)
      return tell(TaskError{task.task, "no process", "", FailureKind::kWorkerUnusable});
    Prepared done{task.task, {}};
    done.preparation.ranges = {{0, 0.1F}};
    tell(done);
  }
  void work(const TileTask& task) {
    ++num_tiles_;
    TileAnswer done{task.task, {}, "tail"};
    for (std::size_t i = 0; i < task.jobs.size(); ++i) {
      eval::Evaluator::TileResult& result = done.tile.results.emplace_back();
      result.counts.num_images = task.count - miscount_;
      result.counts.num_top1 = 60;
      result.counts.num_top5 = 90;
      result.counts.num_images = std::max<std::int64_t>(result.counts.num_images, 0);
      if (task.count < 90) result.counts.num_top1 = result.counts.num_top5 = 20;
      const auto of = [](std::int64_t count, char letter) {
        return std::string(static_cast<std::size_t>(count), letter);
      };
      result.counts.outcomes = of(result.counts.num_top1, '1') +
                               of(result.counts.num_top5 - result.counts.num_top1, '5') +
                               of(task.count - result.counts.num_top5, '0');
      result.counts.has_digest = true;
      result.counts.digest = {static_cast<std::uint64_t>(task.first), 7};
      result.counts.compute_ms = 5;
    }
    tell(done);
  }

  double now_ = 100;
  bool alive_ = true;
  bool can_work_ = true;
  std::int64_t miscount_ = 0;
  int num_received_ = 0;
  int num_tiles_ = 0;
  std::vector<eval::DatasetSpec> datasets_;  // that the worker was told of
  std::string said_;
  FakeStore store_;
  Plan plan_;
  std::vector<JobInventory> inventory_;
  std::unique_ptr<LoopbackTransport> coordinator_end_, worker_end_;
  std::optional<MpiCollective> files_;
  std::optional<Coordinator> coordinator_;
};

TEST_F(CoordinatorTest, StoresWorkersPreparationsAndEveryTileOnce) {
  tell(hello("1.0"));
  run(1);
  EXPECT_GT(num_received_, 0) << "a worker is answered before the plan is made";
  begin();
  run(30);
  ASSERT_EQ(coordinator_->ending(), Ending::kComplete);
  ASSERT_EQ(store_.workers.size(), 1U);
  EXPECT_EQ(store_.workers[0].host, "node1");
  EXPECT_EQ(store_.workers[0].rank, 1);
  ASSERT_EQ(store_.preparations.size(), 2U);
  EXPECT_EQ(store_.preparations[0].ranges_json, "[[0,0.1]]");
  ASSERT_EQ(store_.tiles.size(), 4U);
  std::int64_t images = 0;
  for (const results::TileRow& tile : store_.tiles) {
    images += tile.count;
    EXPECT_EQ(tile.rank, 1);
    ASSERT_TRUE(tile.digest);
    EXPECT_EQ(tile.first, tile.count == 100 ? 0 : 100);
  }
  EXPECT_EQ(images, 300);
  EXPECT_TRUE(store_.failures.empty());
  const SweepView view = coordinator_->view(now_);
  EXPECT_EQ(view.evaluations, 300);
  EXPECT_EQ(view.jobs_done, 2);
  EXPECT_EQ(view.rows[0].num_top1, 80);
}

TEST_F(CoordinatorTest, WorkersReadThePackInPlaceOfTheDataSet) {
  coordinator_->use_packs({{0, {1, 28, 28}, "images", {"/cache/ab", "ab", 1, {}}},
                           {0, {3, 224, 224}, "images", {"/cache/cd", "cd", 1, {}}}});
  tell(hello("1.0"));
  begin();
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  ASSERT_EQ(datasets_.size(), 1U);
  EXPECT_EQ(datasets_[0].format, "image_pack");
  EXPECT_EQ(datasets_[0].images, "/cache/ab");
  EXPECT_EQ(datasets_[0].sha256, "ab");
}

TEST_F(CoordinatorTest, WhoNeedNotWaitForFilesIsGivenWorkBeforeItsNextHeartbeat) {
  with_files(2);
  tell(hello("1.0"));
  coordinator_->step(now_);
  begin();
  num_received_ = 0;
  coordinator_->step(now_);
  int prepare_tasks = 0;
  while (const auto envelope = worker_end_->receive())
    prepare_tasks += std::holds_alternative<PrepareTask>(decode(envelope->bytes));
  EXPECT_EQ(prepare_tasks, 1);
}

TEST_F(CoordinatorTest, WorkersThatWaitForFilesAreNoLostOnes) {
  with_files(2);  // the second never comes
  Hello gpu = hello("1.0");
  gpu.device = "cuda";
  gpu.device_uuid = "GPU-1";
  tell(gpu);
  begin();
  run(25);
  EXPECT_FALSE(coordinator_->ending());
  EXPECT_EQ(num_tiles_, 0);
  run(40);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_EQ(store_.tiles.size(), 4U);
}

TEST_F(CoordinatorTest, AFullDiskHoldsWorkBackAndLosesNothing) {
  double full_until = now_ + 10;
  store_.before_commit = [&](const results::TileRow&) {
    if (now_ < full_until) throw results::StoreFull("disk full");
  };
  tell(hello("1.0"));
  begin();
  run(8);
  EXPECT_FALSE(coordinator_->ending());
  EXPECT_EQ(num_tiles_, 2) << "the next task is sent before an answer is stored, then nothing more";
  EXPECT_THAT(said_, HasSubstr("disk full"));
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_EQ(store_.tiles.size(), 4U);
  EXPECT_THAT(said_, HasSubstr("can be written again"));
}

TEST_F(CoordinatorTest, ADiskThatStaysFullEndsTheSweepAndSaysWhatIsUnsaved) {
  store_.before_commit = [](const results::TileRow&) { throw results::StoreFull("disk full"); };
  tell(hello("1.0"));
  begin();
  run(60);
  ASSERT_EQ(coordinator_->ending(), Ending::kStoreFull);
  EXPECT_THAT(coordinator_->unsaved(),
              testing::ElementsAre("a: 1 tile, 100 images", "b: 1 tile, 100 images"));
}

TEST_F(CoordinatorTest, ATakenOverDatabaseEndsTheSweep) {
  tell(hello("1.0"));
  begin();
  store_.taken_over = true;
  alive_ = false;
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kLockLost);
  EXPECT_THAT(coordinator_->store_problem(), HasSubstr("host b"));
}

TEST_F(CoordinatorTest, AContradictionWithAStoredTileFailsThatJobAlone) {
  store_.before_commit = [](const results::TileRow& tile) {
    if (tile.evaluation == "evaluation-b") throw results::StoreConflict("came out differently");
  };
  tell(hello("1.0"));
  begin();
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_EQ(store_.tiles.size(), 2U);
  ASSERT_EQ(store_.failures.size(), 1U);
  EXPECT_EQ(store_.failures[0].identity, "identity-b");
  EXPECT_EQ(store_.failures[0].reason, "came out differently");
}

TEST_F(CoordinatorTest, AnAnswerThatMissesImagesIsNoAnswer) {
  miscount_ = 1;
  tell(hello("1.0"));
  begin();
  run(60);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_TRUE(store_.tiles.empty());
  ASSERT_EQ(store_.failures.size(), 2U);
  EXPECT_THAT(store_.failures[0].reason, HasSubstr("accounts for"));
  EXPECT_EQ(store_.failures[0].log_tail, "tail");
}

TEST_F(CoordinatorTest, AWorkerOfAnotherBuildIsNotUsed) {
  tell(hello("0.9"));
  begin();
  run(5);
  EXPECT_TRUE(store_.workers.empty());
  EXPECT_EQ(num_tiles_, 0);
  EXPECT_THAT(
      said_,
      HasSubstr("rank 1 on node1 is not used: it runs squant-sweep 0.9, the coordinator 1.0"));
  EXPECT_EQ(coordinator_->ending(), Ending::kNoWorkers);
}

TEST_F(CoordinatorTest, TheSweepEndsAtOnceWhereTheLastWorkerCannotWork) {
  can_work_ = false;
  tell(hello("1.0"));
  begin();
  run(1);
  EXPECT_EQ(coordinator_->ending(), Ending::kNoWorkers);
  EXPECT_THAT(said_, HasSubstr("rank 1 on node1 is not used any more: no process"));
  EXPECT_FALSE(coordinator_->lost_a_worker());
  EXPECT_TRUE(store_.failures.empty());
}

TEST_F(CoordinatorTest, ASilentWorkerIsLostAndWelcomeWhenItComesBack) {
  tell(hello("1.0"));
  begin();
  alive_ = false;
  run(15);
  EXPECT_TRUE(coordinator_->lost_a_worker());
  EXPECT_THAT(said_, HasSubstr("rank 1 on node1 is lost"));
  alive_ = true;
  run(60);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_FALSE(coordinator_->lost_a_worker());
  EXPECT_EQ(store_.tiles.size(), 4U);
}

// It was stopped after its last answer: its heartbeat says that it is idle, and the next task is
// still on its way.
TEST_F(CoordinatorTest, AWorkerThatComesBackGetsNoTaskBeforeItHasAnsweredTheOneItHas) {
  tell(hello("1.0"));
  begin();
  coordinator_->step(now_ += 0.1);
  coordinator_->step(now_ += 15);
  EXPECT_THAT(said_, HasSubstr("rank 1 on node1 is lost"));
  tell(Beat{0});
  coordinator_->step(now_ += 0.1);
  EXPECT_THAT(said_, Not(HasSubstr("is back")));
  run(60);
  EXPECT_THAT(said_, HasSubstr("is back"));
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_EQ(store_.tiles.size(), 4U);
}

TEST_F(CoordinatorTest, FinishedTilesOfAnEarlierRunAreNotAskedForAgain) {
  inventory_[0].missing = {1};
  inventory_[1].to_run = false;
  tell(hello("1.0"));
  begin();
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  ASSERT_EQ(store_.tiles.size(), 1U);
  EXPECT_EQ(store_.tiles[0].first, 100);
  EXPECT_EQ(store_.preparations.size(), 1U);
}

TEST_F(CoordinatorTest, TilesThatComeAgainForTheirPredictionsAreNotCountedTwice) {
  store_.state.finished = {{0, 100}, {100, 50}};
  store_.state.predicted = {{0, 100}};
  for (PlannedJob& job : plan_.jobs) job.job.keep_predictions = true;
  inventory_ = take_inventory(plan_, &store_, {});
  for (const JobInventory& job : inventory_) {
    EXPECT_TRUE(job.to_run);
    EXPECT_EQ(job.missing, std::vector<int>{1});
    EXPECT_EQ(job.repeated, std::set<int>{1});
  }
  std::vector<results::ResultRow> totals(2);
  for (std::size_t i = 0; i < 2; ++i) {
    totals[i].job = plan_.jobs[i].row;
    totals[i].num_images = 150;
    totals[i].num_top1 = 80;
  }
  tell(hello("1.0"));
  coordinator_->begin(store_, plan_, inventory_, totals, 1, now_);
  run(30);
  EXPECT_EQ(coordinator_->ending(), Ending::kComplete);
  EXPECT_EQ(store_.tiles.size(), 2U);
  EXPECT_EQ(coordinator_->evaluations(), 100);
  for (const RowView& row : coordinator_->view(now_).rows) {
    EXPECT_EQ(row.num_images, 150);
    EXPECT_EQ(row.num_top1, 80);
  }
}

TEST_F(CoordinatorTest, FinishedTilesAreEnoughWhereNoPredictionsAreAskedFor) {
  store_.state.finished = {{0, 100}, {100, 50}};
  inventory_ = take_inventory(plan_, &store_, {});
  EXPECT_EQ(inventory_[0].status, JobStatus::kFinished);
  EXPECT_FALSE(inventory_[0].to_run);
  plan_.jobs[0].job.keep_predictions = true;
  store_.state.predicted = store_.state.finished;
  store_.state.predictions_need_force = true;
  inventory_ = take_inventory(plan_, &store_, {});
  EXPECT_FALSE(inventory_[0].to_run);
  EXPECT_TRUE(inventory_[0].predictions_need_force);
  EXPECT_FALSE(inventory_[1].predictions_need_force);
  inventory_ = take_inventory(plan_, &store_, {.force = true});
  EXPECT_TRUE(inventory_[0].to_run);
  EXPECT_FALSE(inventory_[0].predictions_need_force);
  EXPECT_TRUE(inventory_[0].repeated.empty());
}

TEST(AnswersTest, OutcomesMustSayWhatTheCountsSay) {
  eval::TileCounts counts;
  counts.num_images = 4;
  counts.num_top1 = 1;
  counts.num_top5 = 2;
  counts.num_broken = 1;
  counts.outcomes = "01x5";
  EXPECT_EQ(miscounted(counts, 4), "");
  EXPECT_NE(miscounted(counts, 5), "");
  for (const char* outcomes : {"", "01x", "01x50", "00x5", "01xx", "11x5", "01x?"}) {
    counts.outcomes = outcomes;
    EXPECT_NE(miscounted(counts, 4), "") << outcomes;
  }
  counts.outcomes = "01x5";
  counts.predictions = {1, 2, -1};
  EXPECT_NE(miscounted(counts, 4), "");
}

TEST(InventoryTest, AJobWhoseFilesAreMissingIsNew) {
  Plan plan;
  PlannedJob& job = plan.jobs.emplace_back();
  job.dataset = -1;
  job.evaluate = true;
  const auto inventory = take_inventory(plan, nullptr, {});
  EXPECT_EQ(inventory[0].status, JobStatus::kNew);
  EXPECT_TRUE(inventory[0].to_run);
}

TEST(InventoryTest, RangesComeBackToTheLastBit) {
  const std::vector<quant::ActivationRange> ranges{
      {0, 0.1F}, {-3.1415927F, 1e-45F}, {-0.0F, 3.4028235e38F}};
  const auto back = ranges_from_json(ranges_to_json(ranges));
  ASSERT_EQ(back.size(), ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_EQ(back[i].min, ranges[i].min);
    EXPECT_EQ(back[i].max, ranges[i].max);
  }
  EXPECT_EQ(ranges_to_json({}), "[]");
  EXPECT_TRUE(ranges_from_json("[]").empty());
  for (const char* bad : {"", "[", "[[1,2]", "[[1]]", "[[1,2],]", "[[1,2]]x", "[[a,2]]"}) {
    EXPECT_THROW(ranges_from_json(bad), std::invalid_argument) << bad;
  }
}

}  // namespace
}  // namespace squant::runner
