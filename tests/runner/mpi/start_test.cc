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
  // Three ranks, of which the last does `fate` before it is squant-sweep.
  static std::vector<std::string> sweep_where_the_last_rank(const std::string& fate,
                                                            const std::string& db,
                                                            std::vector<std::string> flags) {
    std::vector<std::string> line{SQUANT_MPIEXEC, "--oversubscribe"};
    line.insert(line.end(), flags.begin(), flags.end());
    for (const std::string& part :
         {std::string("-np"), std::string("3"), std::string("sh"), std::string("-c"),
          "test $OMPI_COMM_WORLD_RANK = 2 && " + fate + "; exec " + SQUANT_BIN_DIR +
              "/squant-sweep \"$@\"",
          std::string("sh")}) {
      line.push_back(part);
    }
    for (const std::string& part : sweep(db, {"--start-timeout", "5"})) line.push_back(part);
    return line;
  }
};

TEST_F(StartTest, RanksThatWaitForOneThatDiedSayWhereAndEnd) {
  Command command(
      sweep_where_the_last_rank("kill -KILL $$", "died.sqlite", {"--enable-recovery"}), folder(),
      "died");
  EXPECT_GE(command.wait(), 0) << command.output();  // mpirun's own code
  EXPECT_THAT(command.output(), ContainsRegex("rank 0 on [^ ]+ waited 5 s for the other ranks"));
  EXPECT_THAT(command.output(), ContainsRegex("rank 1 on [^ ]+ waited 5 s for the other ranks"));
  EXPECT_FALSE(std::filesystem::exists(folder() / "died.sqlite"));
}

TEST_F(StartTest, WithoutRecoveryARankThatIsStoppedEndsTheJobWithCodeThree) {
  Command command(sweep_where_the_last_rank("kill -STOP $$", "stopped.sqlite", {}), folder(),
                  "stopped");
  EXPECT_EQ(command.wait(), 3) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("(--start-timeout)"));
}

}  // namespace
}  // namespace squant::runner
