#include "runner/collective/gpu_broadcast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace squant::runner {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const SharedFile kA{"/models/a.pth", "a"};
const SharedFile kB{"/models/b.pth", "b"};

GpuBroadcastOptions options(int num_workers) {
  GpuBroadcastOptions chosen;
  chosen.num_workers = num_workers;
  chosen.host = "node0";
  chosen.patience_s = 10;
  chosen.deadline_s = 100;
  chosen.make_id = [] { return NcclId{7}; };
  return chosen;
}

MemberFacts gpu(int rank, const std::string& host) {
  return {rank, host, "cuda", "GPU-" + std::to_string(rank)};
}

std::vector<int> workers_of(const std::vector<GpuBroadcast::Order>& orders) {
  std::vector<int> workers;
  for (const auto& one : orders) workers.push_back(one.worker);
  return workers;
}

const BroadcastTask& task(const GpuBroadcast::Order& order) {
  return std::get<BroadcastTask>(order.message);
}

// Ranks 1 and 2 on node0, 3 and 4 on node1, 5 on node2; begun at 0.
GpuBroadcast five_gpus(GpuBroadcastOptions chosen = options(5)) {
  GpuBroadcast broadcast(std::move(chosen));
  broadcast.offer(kA, 1 << 20);
  broadcast.offer(kB, 1 << 20);
  for (const auto& [rank, host] : {std::pair{1, "node0"}, {2, "node0"}, {3, "node1"}, {4, "node1"}})
    broadcast.joined(gpu(rank, host));
  broadcast.begin(0);
  return broadcast;
}

// Ranks 1 and 3 have begun at 0.
GpuBroadcast sending() {
  GpuBroadcast broadcast = five_gpus(options(4));
  broadcast.step(0);
  broadcast.lacks(1, {"a"});
  broadcast.lacks(3, {});
  EXPECT_THAT(workers_of(broadcast.step(0)), ElementsAre(1, 3));
  return broadcast;
}

TEST(GpuBroadcastTest, OneOfEachHostTakesPartAndOnlyWhatSomeHostLacksIsSent) {
  GpuBroadcast broadcast = five_gpus();
  EXPECT_THAT(broadcast.step(1), IsEmpty()) << "one worker is not there yet";
  EXPECT_FALSE(broadcast.may_work(1));
  broadcast.joined(gpu(5, "node2"));
  EXPECT_THAT(workers_of(broadcast.step(2)), ElementsAre(1, 3, 5));
  broadcast.lacks(1, {});
  broadcast.lacks(3, {"b"});
  EXPECT_THAT(broadcast.step(3), IsEmpty());
  EXPECT_FALSE(broadcast.may_work(1));
  broadcast.lacks(5, {});
  const auto orders = broadcast.step(4);
  ASSERT_THAT(workers_of(orders), ElementsAre(1, 3, 5));
  for (int i = 0; i < 3; ++i) {
    const BroadcastTask& told = task(orders[static_cast<std::size_t>(i)]);
    EXPECT_EQ(told.task, kBroadcastTask);
    EXPECT_EQ(told.group.rank, i);
    EXPECT_EQ(told.group.root, 0);
    EXPECT_EQ(told.group.id[0], 7);
    EXPECT_THAT(told.group.hosts, ElementsAre("node0", "node1", "node2"));
    EXPECT_THAT(told.group.names, ElementsAre(1, 3, 5));
    ASSERT_THAT(told.files, SizeIs(1));
    EXPECT_EQ(told.files[0].path, kB.path);
  }
  EXPECT_THAT(broadcast.story(), HasSubstr("over NCCL: 5 GPUs on 3 hosts"));

  broadcast.done(3, 5);
  EXPECT_TRUE(broadcast.may_work(3));
  EXPECT_TRUE(broadcast.may_work(4)) << "its host has the file";
  EXPECT_FALSE(broadcast.may_work(1));
  EXPECT_FALSE(broadcast.may_work(2));
  broadcast.done(1, 5);
  broadcast.done(5, 5);
  broadcast.step(6);
  EXPECT_TRUE(broadcast.may_work(2));
}

TEST(GpuBroadcastTest, WhoHasMostIsTheRoot) {
  GpuBroadcast broadcast = five_gpus(options(4));
  EXPECT_THAT(workers_of(broadcast.step(1)), ElementsAre(1, 3));
  broadcast.lacks(1, {"a", "b"});
  broadcast.lacks(3, {"a"});
  const auto orders = broadcast.step(2);
  ASSERT_THAT(orders, SizeIs(2));
  EXPECT_EQ(task(orders[0]).group.root, 1);
}

TEST(GpuBroadcastTest, WhereNobodyLacksAnythingOrThereIsOneHostWorkBeginsAtOnce) {
  GpuBroadcast all_there = five_gpus(options(4));
  all_there.step(1);
  all_there.lacks(1, {});
  all_there.lacks(3, {});
  EXPECT_THAT(all_there.step(2), IsEmpty());
  EXPECT_TRUE(all_there.may_work(1));
  EXPECT_EQ(all_there.story(), "");

  GpuBroadcast one_host(options(2));
  one_host.offer(kA, 1);
  one_host.joined(gpu(1, "node0"));
  one_host.joined(gpu(2, "node0"));
  one_host.begin(0);
  EXPECT_THAT(workers_of(one_host.step(1)), ElementsAre(1));
  one_host.lacks(1, {"a"});
  EXPECT_THAT(one_host.step(2), IsEmpty());
  EXPECT_TRUE(one_host.may_work(2));
}

TEST(GpuBroadcastTest, AWorkerWithoutAGpuDecidesForMpiAtOnce) {
  GpuBroadcast broadcast = five_gpus();
  EXPECT_FALSE(broadcast.may_work(9));
  broadcast.joined({9, "node3", "cpu", ""});
  EXPECT_THAT(broadcast.step(0.1), IsEmpty());
  EXPECT_TRUE(broadcast.may_work(1));
  EXPECT_TRUE(broadcast.may_work(9));
}

TEST(GpuBroadcastTest, AWorkerWithoutAGpuIsAnErrorWhereNcclIsAskedFor) {
  GpuBroadcastOptions chosen = options(5);
  chosen.asked = Broadcast::kNccl;
  GpuBroadcast broadcast = five_gpus(chosen);
  broadcast.joined({9, "node3", "cpu", ""});
  EXPECT_THROW(broadcast.step(1), std::invalid_argument);
}

TEST(GpuBroadcastTest, ThoseThatAreNeverHeardOfAreNotWaitedForLong) {
  GpuBroadcast broadcast = five_gpus();
  EXPECT_THAT(broadcast.step(9.9), IsEmpty());
  EXPECT_THAT(workers_of(broadcast.step(10)), ElementsAre(1, 3));
  broadcast.lacks(1, {"a"});
  EXPECT_THAT(broadcast.step(19.9), IsEmpty());
  EXPECT_THAT(broadcast.step(20), IsEmpty()) << "rank 3 does not answer: one host is left";
  EXPECT_TRUE(broadcast.may_work(1));
  EXPECT_TRUE(broadcast.may_work(3));
}

TEST(GpuBroadcastTest, ADeadMemberHoldsItsHostUpNoLongerThanTheGroupsDeadline) {
  GpuBroadcast broadcast = sending();
  broadcast.done(1, 100);  // it failed: rank 3 is dead
  broadcast.step(110);
  EXPECT_TRUE(broadcast.may_work(2));
  EXPECT_FALSE(broadcast.may_work(4));
  broadcast.step(211);
  EXPECT_TRUE(broadcast.may_work(4));
}

TEST(GpuBroadcastTest, WhereNobodyEverAnswersTheSweepGoesOn) {
  GpuBroadcast broadcast = sending();
  broadcast.step(300);
  EXPECT_FALSE(broadcast.may_work(2));
  broadcast.step(320);  // (two files + connecting) x deadline + patience
  EXPECT_TRUE(broadcast.may_work(2));
}

TEST(GpuBroadcastTest, ALostMemberCountsAsDone) {
  GpuBroadcast broadcast = sending();
  broadcast.lost(3);
  EXPECT_TRUE(broadcast.may_work(4));
  EXPECT_FALSE(broadcast.may_work(1));
  broadcast.done(1, 1);
  broadcast.step(1);
  EXPECT_TRUE(broadcast.may_work(1));
}

TEST(GpuBroadcastTest, WithoutAnIdItIsMpiAndTheStorySaysWhy) {
  GpuBroadcastOptions chosen = options(4);
  chosen.make_id = []() -> NcclId { throw std::runtime_error("no network interface"); };
  GpuBroadcast broadcast = five_gpus(chosen);
  broadcast.step(0);
  broadcast.lacks(1, {"a"});
  broadcast.lacks(3, {});
  EXPECT_THAT(broadcast.step(1), IsEmpty());
  EXPECT_TRUE(broadcast.may_work(1));
  EXPECT_EQ(broadcast.story(), "over MPI: no network interface");
}

TEST(GpuBroadcastTest, LargeFilesHaveMoreTime) {
  GpuBroadcast broadcast(options(2));
  broadcast.offer(kA, 5'000'000'000);
  broadcast.joined(gpu(1, "node0"));
  broadcast.joined(gpu(2, "node1"));
  broadcast.begin(0);
  broadcast.step(0);
  broadcast.lacks(1, {});
  broadcast.lacks(2, {"a"});
  EXPECT_DOUBLE_EQ(task(broadcast.step(0).at(0)).group.deadline_s, 200);
}

}  // namespace
}  // namespace squant::runner
