#include "runner/collective/fetching_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "scratch_folder.h"

namespace squant::runner {
namespace {

using testing::HasSubstr;

// Remembers the paths that it was to load, and is done at once.
class RecordingExecutor final : public TaskExecutor {
 public:
  void start(Work work) override {
    paths.clear();
    result_ = eval::Preparation{};
    if (const auto* preparation = std::get_if<PreparationWork>(&work)) {
      paths.push_back(preparation->job.checkpoint);
    } else if (const auto* tile = std::get_if<TileWork>(&work)) {
      eval::Evaluator::Tile done;
      if (!tile->dataset.images.empty()) paths.push_back(tile->dataset.images);
      for (const auto& one : tile->jobs) {
        paths.push_back(one.job.checkpoint);
        done.results.emplace_back().counts.num_images = tile->count;
      }
      result_ = std::move(done);
    } else {
      for (const SharedFile& file : std::get<BroadcastWork>(work).files) paths.push_back(file.path);
      result_ = deliveries;
    }
    busy_ = true;
  }
  std::optional<WorkResult> poll() override {
    if (!std::exchange(busy_, false)) return std::nullopt;
    return std::move(result_);
  }
  bool busy() const override { return busy_; }
  void wait(double /*seconds*/) override {}
  std::vector<std::string> paths;
  Deliveries deliveries;  // of a broadcast

 private:
  WorkResult result_;
  bool busy_ = false;
};

// A coordinator and one worker. The worker is on another node unless a test says otherwise.
class FetchingExecutorTest : public testing::Test {
 protected:
  FetchingExecutorTest() {
    spdlog::set_level(spdlog::level::off);
    auto [own, other] = LoopbackTransport::make_pair(0, 1);
    root_end_ = std::move(own);
    worker_end_ = std::move(other);
    root_ = std::make_unique<MpiCollective>(
        *root_end_, MpiMember{0, 0, "node0", scratch_ / "cache0"}, RelayOptions{});
    reset(false, "node1");
  }
  void reset(bool always, const std::string& host) {
    const std::string cache = scratch_ / (host == "node0" ? "cache0" : "cache1");
    collective_ =
        std::make_unique<MpiCollective>(*worker_end_, MpiMember{1, 0, host, cache}, RelayOptions{});
    executor_ = std::make_unique<FetchingExecutor>(inner_, *collective_, always);
    executor_->step(now_);
  }
  SharedFile offered(const std::string& name, unsigned seed) {
    const SharedFile file = write_file(scratch_ / name, made_up_bytes(3'000'000, seed));
    root_->begin(file, now_);
    return file;
  }
  // The worker cannot see the path that the plan names.
  static eval::Job job(const SharedFile& file, bool hidden = true) {
    eval::Job one;
    one.checkpoint = (hidden ? "/another/node" : "") + file.path;
    one.checkpoint_sha256 = file.sha256;
    return one;
  }
  static Work tile(const std::vector<eval::Job>& jobs) {
    TileWork work;
    work.count = 10;
    for (const eval::Job& one : jobs) work.jobs.push_back({one, {}});
    return work;
  }
  void step_root() {
    while (const auto envelope = root_end_->receive()) root_->receive(*envelope, now_);
    for (Delivery& one : root_->step(now_)) heard_.push_back(std::move(one));
  }
  std::optional<WorkResult> run() {
    for (int i = 0; i < 100; ++i, now_ += 0.01) {
      step_root();
      while (const auto envelope = worker_end_->receive()) executor_->receive(*envelope, now_);
      executor_->step(now_);
      if (auto result = executor_->poll()) return result;
    }
    return std::nullopt;
  }
  std::string cached(const SharedFile& file) const { return scratch_ / ("cache1/" + file.sha256); }

  double now_ = 50;
  ScratchFolder scratch_;
  std::unique_ptr<LoopbackTransport> root_end_, worker_end_;
  std::unique_ptr<MpiCollective> root_, collective_;
  RecordingExecutor inner_;
  std::unique_ptr<FetchingExecutor> executor_;
  std::vector<Delivery> heard_;
};

TEST_F(FetchingExecutorTest, WorkWaitsForItsCheckpointsAndNamesTheLocalCopies) {
  const SharedFile a = offered("a.pth", 1);
  const SharedFile b = offered("b.pth", 2);
  executor_->start(tile({job(a), job(b), job(a)}));
  EXPECT_TRUE(executor_->busy());
  EXPECT_TRUE(inner_.paths.empty());
  EXPECT_THROW(executor_->start(PreparationWork{}), std::logic_error);
  const auto result = run();
  ASSERT_TRUE(result);
  EXPECT_EQ(std::get<eval::Evaluator::Tile>(*result).results.size(), 3U);
  EXPECT_EQ(inner_.paths, (std::vector<std::string>{cached(a), cached(b), cached(a)}));
  EXPECT_EQ(content(cached(b)), content(b.path));
  EXPECT_FALSE(executor_->busy());
}

TEST_F(FetchingExecutorTest, WhatIsHereIsNotAskedForUnlessForced) {
  const SharedFile file = offered("a.pth", 1);
  executor_->start(PreparationWork{job(file, false), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{file.path});
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "cache1"));

  reset(true, "node1");
  executor_->start(PreparationWork{job(file, false), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{cached(file)});

  reset(true, "node0");  // the coordinator's own node reads the path
  executor_->start(PreparationWork{job(file, false), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{file.path});
}

TEST_F(FetchingExecutorTest, ASecondPieceOfWorkAndALaterSweepAskForNothing) {
  const SharedFile file = offered("a.pth", 1);
  executor_->start(PreparationWork{job(file), 0});
  ASSERT_TRUE(run());
  const auto received = [&] {
    step_root();
    std::int64_t bytes = 0;
    for (const Delivery& one : heard_) bytes += one.bytes;
    return bytes;
  };
  EXPECT_EQ(received(), 3'000'000);
  executor_->start(PreparationWork{job(file), 0});
  ASSERT_TRUE(run());
  reset(false, "node1");
  executor_->start(PreparationWork{job(file), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{cached(file)});
  EXPECT_EQ(received(), 3'000'000);

  std::filesystem::remove(cached(file));  // somebody empties the cache
  executor_->start(PreparationWork{job(file), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(received(), 6'000'000);
}

TEST_F(FetchingExecutorTest, ACheckpointThatCannotBeGotFailsItsOwnJobsAlone) {
  const SharedFile good = offered("a.pth", 1);
  const eval::Job bad = job({"/x.pth", std::string(64, 'b')});
  executor_->start(tile({bad, job(good), bad}));
  auto result = run();
  ASSERT_TRUE(result);
  EXPECT_EQ(inner_.paths, std::vector<std::string>{cached(good)});
  const auto& results = std::get<eval::Evaluator::Tile>(*result).results;
  ASSERT_EQ(results.size(), 3U);
  for (const std::size_t failed : {0U, 2U})
    EXPECT_THAT(results[failed].error, HasSubstr("x.pth was not received by rank 1"));
  EXPECT_EQ(results[1].error, "");
  EXPECT_EQ(results[1].counts.num_images, 10);

  inner_.paths.clear();
  executor_->start(tile({bad}));
  result = run();
  ASSERT_TRUE(result);
  EXPECT_THAT(std::get<eval::Evaluator::Tile>(*result).results.at(0).error, HasSubstr("x.pth"));
  executor_->start(PreparationWork{bad, 0});
  result = run();
  ASSERT_TRUE(result);
  EXPECT_THAT(std::get<WorkFailed>(*result).reason, HasSubstr("x.pth"));
  EXPECT_TRUE(inner_.paths.empty());

  executor_->start(PreparationWork{job(good), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{cached(good)});
}

TEST_F(FetchingExecutorTest, APackOfImagesIsFetchedLikeACheckpointAndTheTileFailsWithoutIt) {
  const SharedFile images = offered("images", 1);
  const SharedFile weights = offered("a.pth", 2);
  TileWork work = std::get<TileWork>(tile({job(weights)}));
  work.dataset = {"image_pack", "/another/node" + images.path, "", "", "files", images.sha256};
  executor_->start(work);
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, (std::vector<std::string>{cached(images), cached(weights)}));

  inner_.paths.clear();
  work.dataset.sha256 = std::string(64, 'b');
  executor_->start(work);
  const auto result = run();
  ASSERT_TRUE(result);
  EXPECT_THAT(std::get<WorkFailed>(*result).reason, HasSubstr("was not received by rank 1"));
  EXPECT_TRUE(inner_.paths.empty());
}

TEST_F(FetchingExecutorTest, TheRootOfABroadcastFirstGetsWhatItSendsTheOthersWait) {
  const SharedFile file = offered("a.pth", 1);
  const SharedFile elsewhere{"/another/node" + file.path, file.sha256};
  EXPECT_EQ(executor_->lacking({elsewhere, file}), std::vector<std::string>{file.sha256});
  BroadcastWork work;
  work.group.hosts = {"node1", "node2"};
  work.files = {elsewhere};
  work.group.rank = 1;
  inner_.deliveries = {{file.sha256, 1, "node2", 0, 0, "", "the group broke"}};
  executor_->start(work);
  auto result = run();
  ASSERT_TRUE(result);
  EXPECT_EQ(inner_.paths, std::vector<std::string>{elsewhere.path});
  EXPECT_THAT(executor_->lacking({elsewhere}), testing::SizeIs(1));

  work.group.rank = 0;
  executor_->start(work);
  result = run();
  ASSERT_TRUE(result);
  EXPECT_EQ(inner_.paths, std::vector<std::string>{cached(file)});
  EXPECT_THAT(executor_->lacking({elsewhere}), testing::IsEmpty());
}

TEST_F(FetchingExecutorTest, WhatCameOverNcclIsNotAskedForAgain) {
  const SharedFile file = offered("a.pth", 1);
  BroadcastWork work;
  work.group.hosts = {"node0", "node1"};
  work.group.rank = 1;
  work.files = {{"/another/node" + file.path, file.sha256}};
  inner_.deliveries = {{file.sha256, 1, "node1", 3'000'000, 1, file.path, ""}};
  executor_->start(work);
  ASSERT_TRUE(run());
  executor_->start(PreparationWork{job(file), 0});
  ASSERT_TRUE(run());
  EXPECT_EQ(inner_.paths, std::vector<std::string>{file.path});
  EXPECT_TRUE(std::all_of(heard_.begin(), heard_.end(),
                          [](const Delivery& one) { return one.bytes == 0; }));
}

}  // namespace
}  // namespace squant::runner
