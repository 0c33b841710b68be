#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "runner/collective/choose.h"

namespace squant::runner {
namespace {

using testing::HasSubstr;

const std::vector<MemberFacts> kFourGpus{{1, "node1", "cuda", "GPU-a"},
                                         {2, "node1", "cuda", "GPU-b"},
                                         {3, "node2", "cuda", "GPU-a"},
                                         {4, "node2", "cuda", "GPU-c"}};

std::vector<MemberFacts> with(std::size_t index, const MemberFacts& facts) {
  std::vector<MemberFacts> members = kFourGpus;
  members[index] = facts;
  return members;
}

TEST(ChooseCollectiveTest, EveryRankWithAGpuOfItsOwnTakesNccl) {
  const CollectiveChoice choice = choose_collective(kFourGpus, Broadcast::kAuto, "");
  EXPECT_EQ(choice.way, Broadcast::kNccl);
  EXPECT_EQ(choice.why, "over NCCL: 4 GPUs on 2 hosts");
  EXPECT_EQ(choose_collective(kFourGpus, Broadcast::kNccl, "").way, Broadcast::kNccl);
}

TEST(ChooseCollectiveTest, WhereNcclCannotMpiIsTakenAndTheReasonSaid) {
  struct Case {
    std::vector<MemberFacts> members;
    const char* no_nccl;
    const char* why;
  };
  const std::vector<Case> cases = {
      {with(2, {3, "node2", "cpu", ""}), "", "over MPI: rank 3 on node2 computes on the CPU"},
      {with(1, {2, "node1", "cuda", "GPU-a"}), "",
       "over MPI: ranks 1 and 2 on node1 share one GPU"},
      {with(0, {1, "node1", "cuda", ""}), "",
       "over MPI: rank 1 on node1 does not say which GPU it has"},
      {kFourGpus, "this program was built without NCCL",
       "over MPI: this program was built without NCCL"},
      {{}, "", "over MPI: no worker is there"},
  };
  for (const Case& one : cases) {
    const CollectiveChoice choice = choose_collective(one.members, Broadcast::kAuto, one.no_nccl);
    EXPECT_EQ(choice.way, Broadcast::kMpi) << one.why;
    EXPECT_EQ(choice.why, one.why);
    try {
      choose_collective(one.members, Broadcast::kNccl, one.no_nccl);
      FAIL() << "NCCL was taken although " << one.why;
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string(one.why).substr(10)));
      EXPECT_THAT(error.what(), HasSubstr("--broadcast nccl: "));
    }
  }
}

TEST(ChooseCollectiveTest, AFlagForcesMpiOrNothing) {
  EXPECT_EQ(choose_collective(kFourGpus, Broadcast::kMpi, "").way, Broadcast::kMpi);
  const CollectiveChoice off = choose_collective(kFourGpus, Broadcast::kOff, "");
  EXPECT_EQ(off.way, Broadcast::kOff);
  EXPECT_THAT(off.why, HasSubstr("--broadcast off"));
}

TEST(ChooseCollectiveTest, OtherWordsAreRefused) {
  EXPECT_EQ(broadcast_from("auto"), Broadcast::kAuto);
  EXPECT_EQ(broadcast_from("nccl"), Broadcast::kNccl);
  EXPECT_EQ(broadcast_from("mpi"), Broadcast::kMpi);
  EXPECT_EQ(broadcast_from("off"), Broadcast::kOff);
  EXPECT_THROW(broadcast_from("tcp"), std::invalid_argument);
}

}  // namespace
}  // namespace squant::runner
