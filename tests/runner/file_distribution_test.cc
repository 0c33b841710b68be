#include "runner/file_distribution.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "runner/file_work.h"
#include "tests/runner/collective/scratch_folder.h"

namespace squant::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Hello gpu_worker(const std::string& host) {
  Hello hello;
  hello.host = host;
  hello.device = "cuda";
  hello.device_uuid = "GPU-" + host;
  return hello;
}

// Two workers with a GPU each, on node1 and node2.
class FileDistributionTest : public testing::Test {
 protected:
  FileDistributionTest() {
    spdlog::set_level(spdlog::level::off);
    std::tie(root_end_, worker_end_) = LoopbackTransport::make_pair(0, 1);
    mpi_.emplace(*root_end_, MpiMember{0, 0, "node0", scratch_ / "cache"}, RelayOptions{});
    GpuBroadcastOptions options;
    options.num_workers = 2;
    options.host = "node0";
    options.make_id = [] { return NcclId{}; };
    files_.emplace(*mpi_, options, [this](int worker, const Message& message) {
      told_.emplace_back(worker, message);
    });
    file_ = write_file(scratch_ / "resnet18.pth", made_up_bytes(2 << 20, 1));
    files_->offer(file_, "checkpoint resnet18.pth", 0);
    files_->joined(1, gpu_worker("node1"));
    files_->joined(2, gpu_worker("node2"));
    files_->begin(0);
  }
  template <typename T>
  std::vector<int> workers_told() {
    std::vector<int> workers;
    for (const auto& [worker, message] : std::exchange(told_, {})) {
      if (std::holds_alternative<T>(message)) workers.push_back(worker);
    }
    return workers;
  }
  void begin_broadcast() {
    files_->step(1);
    ASSERT_THAT(workers_told<WhichFiles>(), ElementsAre(1, 2));
    files_->receive(1, FilesLacking{});
    files_->receive(2, FilesLacking{{file_.sha256}});
    files_->step(2);
    ASSERT_THAT(workers_told<BroadcastTask>(), ElementsAre(1, 2));
  }

  ScratchFolder scratch_;
  std::unique_ptr<LoopbackTransport> root_end_, worker_end_;
  std::optional<MpiCollective> mpi_;
  std::optional<FileDistribution> files_;
  SharedFile file_;
  std::vector<std::pair<int, Message>> told_;
};

TEST_F(FileDistributionTest, WorkBeginsWithTheBroadcastsEndAndTheSummarySaysWhatWentWhere) {
  EXPECT_FALSE(files_->may_work(1));
  begin_broadcast();
  EXPECT_FALSE(files_->may_work(1));
  const Delivery root{file_.sha256, 1, "node1", 0, 1, file_.path, ""};
  const Delivery peer{file_.sha256, 2, "node2", 2 << 20, 1, "", ""};
  files_->receive(1, BroadcastDone{kBroadcastTask, {peer, root}}, 3);
  EXPECT_TRUE(files_->may_work(1));
  EXPECT_FALSE(files_->may_work(2));
  EXPECT_THAT(files_->lines(), IsEmpty()) << "each member tells of itself";
  files_->receive(2, BroadcastDone{kBroadcastTask, {peer}}, 3);
  EXPECT_TRUE(files_->may_work(2));
  EXPECT_THAT(files_->lines(),
              ElementsAre("checkpoint resnet18.pth: 2.0 MiB sent to 1 node in 1.0 s over NCCL"));
}

TEST_F(FileDistributionTest, AFailedBroadcastHoldsNobodyUp) {
  begin_broadcast();
  files_->receive(1, TaskError{kBroadcastTask, "the child process died", ""}, 3);
  files_->receive(2, BroadcastDone{kBroadcastTask, {{file_.sha256, 2, "node2", 0, 1, "", "dead"}}},
                  3);
  EXPECT_TRUE(files_->may_work(1));
  EXPECT_TRUE(files_->may_work(2));
  EXPECT_THAT(files_->lines(), ElementsAre(HasSubstr("sent to no node; 1 rank did not get it")));
}

TEST_F(FileDistributionTest, ALostWorkerHoldsNobodyUp) {
  begin_broadcast();
  files_->lost(1, 3);
  files_->receive(2, BroadcastDone{kBroadcastTask, {}}, 3);
  files_->step(4);
  EXPECT_TRUE(files_->may_work(2));
}

TEST(FileWorkTest, APackThatCannotBeMadeIsAFailureWithItsReason) {
  const WorkResult result =
      run_packing({{"idx", "/nothing/images", "/nothing/labels", ""}, 10, {1, 28, 28}, "/tmp"}, 1,
                  [](std::size_t) {});
  EXPECT_THAT(std::get<WorkFailed>(result).reason, HasSubstr("/nothing/images"));
}

// With the real NCCL, as far as it goes on a machine whatever its GPUs are.
TEST(FileWorkTest, ABroadcastWithoutItsGpuEndsWithTheReasonForEveryFile) {
  ScratchFolder scratch;
  BroadcastWork work;
  work.group.rank = 1;
  work.group.root = 0;
  work.group.hosts = {"node1", "node2"};
  work.group.names = {1, 2};
  work.group.device = 1000;  // nowhere are so many
  work.files = {{"/a.pth", "aa"}, {"/b.pth", "bb"}};
  work.cache = scratch / "cache";
  const WorkResult result = run_broadcast(work, [](std::size_t) {});
  if (const std::string why = why_no_nccl(); !why.empty()) {
    EXPECT_THAT(std::get<WorkFailed>(result).reason, HasSubstr(why));
    return;
  }
  const auto& deliveries = std::get<Deliveries>(result);
  ASSERT_THAT(deliveries, SizeIs(2));
  for (const Delivery& one : deliveries) {
    EXPECT_EQ(one.rank, 2);
    EXPECT_THAT(one.error, HasSubstr("was not received by rank 2 on node2 over NCCL"));
    EXPECT_THAT(one.error, HasSubstr("no CUDA device"));
  }
}

}  // namespace
}  // namespace squant::runner
