// Ranks that never get through MPI's start-up: the others do not wait for ever.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sweep_fixture.h"

namespace squant::runner {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class StartTest : public SweepTest {
 protected:
  // Three ranks, of which the last gets `signal` before it is squant-sweep.
  static std::vector<std::string> sweep_where_the_last_rank_gets(const std::string& signal,
                                                                 const std::string& db,
                                                                 const std::string& recovery) {
    const std::string script = "test $OMPI_COMM_WORLD_RANK = 2 && kill -" + signal +
                               " $$; exec " SQUANT_BIN_DIR "/squant-sweep \"$@\"";
    std::vector<std::string> line{SQUANT_MPIEXEC,
                                  "--oversubscribe",
                                  "--mca",
                                  "orte_enable_recovery",
                                  recovery,
                                  "-np",
                                  "3",
                                  "sh",
                                  "-c",
                                  script,
                                  "sh"};
    const auto arguments = sweep(db, {"--start-timeout", "5"});
    line.insert(line.end(), arguments.begin(), arguments.end());
    return line;
  }
};

TEST_F(StartTest, RanksThatWaitForOneThatDiedSayWhereAndEnd) {
  Command command(sweep_where_the_last_rank_gets("KILL", "died.sqlite", "1"), folder(), "died");
  EXPECT_GE(command.wait(), 0) << command.output();  // mpirun's own code
  EXPECT_THAT(command.output(), ContainsRegex("rank 0 on [^ ]+ waited 5 s for the other ranks"));
  EXPECT_THAT(command.output(), ContainsRegex("rank 1 on [^ ]+ waited 5 s for the other ranks"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "died.sqlite"));
}

TEST_F(StartTest, WithoutRecoveryARankThatIsStoppedEndsTheJobWithCodeThree) {
  Command command(sweep_where_the_last_rank_gets("STOP", "stopped.sqlite", "0"), folder(),
                  "stopped");
  EXPECT_EQ(command.wait(), 3) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("(--start-timeout)"));
}

}  // namespace
}  // namespace squant::runner
