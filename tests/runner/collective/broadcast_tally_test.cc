#include "runner/collective/broadcast_tally.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squant::runner {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(BroadcastTallyTest, ALineSaysWhatWentToHowManyNodesFromTheFirstQuestionToTheLastArrival) {
  BroadcastTally tally;
  tally.name("a", "checkpoint resnet18.pth");
  tally.name("b", "checkpoint never-sent.pth");
  EXPECT_THAT(tally.lines(), IsEmpty());
  tally.add({"a", 0, "node0", 0, 0, "/models/resnet18.pth", ""}, "MPI", 10);  // the root's own
  tally.add({"a", 1, "node1", 3 << 20, 2, "", ""}, "MPI", 13);
  tally.add({"a", 2, "node1", 0, 2, "", ""}, "MPI", 13);  // found what rank 1 had received
  tally.add({"a", 3, "node2", 3 << 20, 1.5, "", ""}, "MPI", 14.5);
  EXPECT_THAT(tally.lines(),
              ElementsAre("checkpoint resnet18.pth: 3.0 MiB sent to 2 nodes in 3.5 s over MPI"));
}

TEST(BroadcastTallyTest, WhoDidNotGetItIsCounted) {
  BroadcastTally tally;
  tally.name("a", "checkpoint a.pth");
  tally.add({"a", 1, "node1", 0, 2, "", "rank 1 on node1: disk full"}, "MPI", 13);
  EXPECT_THAT(tally.lines(),
              ElementsAre("checkpoint a.pth: sent to no node; 1 rank did not get it"));
  tally.add({"a", 2, "node2", 1 << 20, 1, "", ""}, "MPI", 14);
  EXPECT_THAT(tally.lines(), ElementsAre("checkpoint a.pth: 1.0 MiB sent to 1 node in 1.0 s over "
                                         "MPI; 1 rank did not get it"));
}

TEST(BroadcastTallyTest, EveryWayIsNamed) {
  BroadcastTally tally;
  tally.name("a", "images imagenet");
  tally.add({"a", 1, "node1", 1 << 20, 1, "", ""}, "NCCL", 10);
  EXPECT_THAT(tally.lines(),
              ElementsAre("images imagenet: 1.0 MiB sent to 1 node in 1.0 s over NCCL"));
  tally.add({"a", 2, "node2", 1 << 20, 1, "", ""}, "MPI", 11);
  EXPECT_THAT(tally.lines(),
              ElementsAre("images imagenet: 1.0 MiB sent to 2 nodes in 2.0 s over MPI and NCCL"));
}

}  // namespace
}  // namespace squant::runner
