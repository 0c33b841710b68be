// The processes that do the work die, hang and talk nonsense: the sweep goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "processes.h"
#include "sweep_fixture.h"

namespace squant::runner {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kChild = "squant-child";
constexpr const char* kSpawner = "squant-spawner";

class ChildFaultTest : public SweepTest {
 protected:
  void TearDown() override { unsetenv("SQUANT_TEST_FAULT"); }

  static void plant(const std::string& fault) { setenv("SQUANT_TEST_FAULT", fault.c_str(), 1); }

  // A process of this name below `command`, when there is one; 0 where the command ends before.
  static pid_t wait_for(Command& command, const std::string& name) {
    pid_t found = 0;
    eventually([&] {
      const std::vector<pid_t> pids = named(descendants(command.pid()), name);
      if (!pids.empty()) found = pids.front();
      return found != 0 || !command.running();
    });
    return found;
  }
  static bool all_end(const std::vector<Process>& processes) {
    return eventually(
        [&] {
          return std::none_of(processes.begin(), processes.end(),
                              [](const Process& one) { return runs(one.pid); });
        },
        10);
  }
  static results::FailureRow failure_of(const std::string& db, const std::string& model,
                                        const std::string& bits) {
    const auto store = results::Store::open_reader(folder() / db);
    for (const results::ResultRow& row : store->results()) {
      if (row.job.model != model || row.job.bits != bits) continue;
      const auto state = store->job_state(row.job);
      if (state.failure) return *state.failure;
    }
    return {};
  }
  // Every job but fmnist_resnet w4a4 has all of its images.
  static void expect_the_others_complete(const std::string& db, std::int64_t images) {
    for (const results::ResultRow& row : rows(db)) {
      const bool to_blame = row.job.model == "fmnist_resnet" && row.job.bits == "w4a4";
      EXPECT_EQ(row.verdict == "failed", to_blame) << row.job.model << " " << row.job.bits;
      if (to_blame) continue;
      EXPECT_EQ(row.num_images, images) << row.job.model << " " << row.job.bits;
    }
  }
};

TEST_F(ChildFaultTest, ChildrenEndedByAnySignalCostNoResult) {
  auto undisturbed = start(3, sweep("undisturbed.sqlite"));
  ASSERT_EQ(undisturbed->wait(), 0) << undisturbed->output();

  const std::string db = "disturbed.sqlite";
  auto command = start(3, sweep(db));
  int ended = 0;
  for (const int signal : {SIGKILL, SIGSEGV, SIGKILL, SIGTERM, SIGBUS}) {
    const std::int64_t stored = stored_images(db);
    ASSERT_TRUE(eventually([&] { return stored_images(db) > stored || !command->running(); }));
    const pid_t child = wait_for(*command, kChild);
    ended += child != 0 && ::kill(child, signal) == 0;
  }
  EXPECT_EQ(command->wait(), 0) << command->output();
  EXPECT_GE(ended, 3) << "the sweep was too fast for this test";
  EXPECT_THAT(command->output(), HasSubstr("was ended by SIG"));
  EXPECT_EQ(facts(db), facts("undisturbed.sqlite"));
}

TEST_F(ChildFaultTest, AStoppedChildIsReplacedAfterTheTimeLimit) {
  auto command = start(2, sweep("stopped.sqlite", {"--hang-timeout", "10"}));
  ASSERT_TRUE(eventually([&] { return stored_images("stopped.sqlite") > 0; }));
  const pid_t child = wait_for(*command, kChild);
  ASSERT_NE(child, 0);
  ::kill(child, SIGSTOP);
  EXPECT_EQ(command->wait(), 0) << command->output();
  EXPECT_THAT(command->output(), HasSubstr("child process " + std::to_string(child) +
                                           " got no further for 10 s while it evaluated"));
  EXPECT_FALSE(runs(child));
  for (const Fact& fact : facts("stopped.sqlite")) EXPECT_EQ(std::get<3>(fact), kNumImages);
}

TEST_F(ChildFaultTest, AJobThatAlwaysKillsItsChildHasFailedAndTheOthersGoOn) {
  plant("segv:fmnist_resnet:w4a4:70");
  const std::string db = "segv.sqlite";
  auto command = start(3, sweep(db, {"--images", "200"}));
  EXPECT_EQ(command->wait(), 1) << command->output();
  EXPECT_EQ(count(command->output(), "FAILED"), 1U) << command->output();
  expect_the_others_complete(db, 200);
  const results::FailureRow failure = failure_of(db, "fmnist_resnet", "w4a4");
  EXPECT_THAT(failure.reason,
              testing::ContainsRegex("was ended by SIGSEGV .* while it evaluated fmnist_resnet "
                                     "w4a4 squant on images 50 to 99; image 70 alone d"));
  EXPECT_THAT(failure.log_tail, HasSubstr("the planted fault strikes: segv"));
}

TEST_F(ChildFaultTest, AChildThatHangsExitsOrTalksNonsenseFailsItsJobWithThatReason) {
  const std::vector<std::pair<std::string, std::string>> faults = {
      {"hang", "got no further for 15 s while it prepared fmnist_resnet w4a4 squant"},
      {"exit", "ended with exit code 7"},
      {"abort", "was ended by SIGABRT"},
      {"nonsense", "answered nonsense (not a message of this program"}};
  for (const auto& [kind, reason] : faults) {
    SCOPED_TRACE(kind);
    plant(kind + ":fmnist_resnet:w4a4");
    const std::string db = kind + ".sqlite";
    const std::string patience = kind == "hang" ? "15" : "600";  // of a slow machine, too
    auto command = start(0, sweep(db, {"--images", "100", "--hang-timeout", patience}));
    EXPECT_EQ(command->wait(), 1) << command->output();
    EXPECT_THAT(failure_of(db, "fmnist_resnet", "w4a4").reason, HasSubstr(reason));
    expect_the_others_complete(db, 100);
  }
}

TEST_F(ChildFaultTest, WhereMemoryIsShortTheBatchShrinksUntilItFits) {
  const std::vector<std::string> arguments = {
      "--images", "1500", "--where", "bits=float",        "--only", "model=fmnist_resnet",
      "--batch",  "1500", "--set",   "dataset.chunk=1500"};
  auto roomy = start(0, sweep("roomy.sqlite", arguments));
  ASSERT_EQ(roomy->wait(), 0) << roomy->output();
  plant("memory:60");
  std::vector<std::string> verbose = arguments;
  verbose.push_back("--verbose");
  auto tight = start(0, sweep("tight.sqlite", verbose));
  EXPECT_EQ(tight->wait(), 0) << tight->output();
  EXPECT_THAT(tight->output(), HasSubstr("images at a time"));
  EXPECT_EQ(facts("tight.sqlite"), facts("roomy.sqlite"));
}

TEST_F(ChildFaultTest, NothingToDoStartsNoChild) {
  auto first = start(0, sweep("once.sqlite", {"--images", "100", "--verbose"}));
  ASSERT_EQ(first->wait(), 0) << first->output();
  EXPECT_THAT(first->output(), HasSubstr("child process"));
  auto second = start(0, sweep("once.sqlite", {"--images", "100", "--verbose"}));
  ASSERT_EQ(second->wait(), 0) << second->output();
  EXPECT_THAT(second->output(), Not(HasSubstr("child process")));
}

TEST_F(ChildFaultTest, AChildKnowsNothingOfMpi) {
  auto command = start(2, sweep("environment.sqlite"));
  const pid_t child = wait_for(*command, kChild);
  ASSERT_NE(child, 0);
  std::ifstream file("/proc/" + std::to_string(child) + "/environ");
  const std::string variables(std::istreambuf_iterator<char>(file), {});
  EXPECT_THAT(variables, HasSubstr("PATH="));
  EXPECT_THAT(variables, Not(HasSubstr("OMPI_")));
  EXPECT_THAT(variables, Not(HasSubstr("PMIX_")));
}

TEST_F(ChildFaultTest, NoProcessOutlivesItsRankOrMpirun) {
  for (const int ranks : {0, 3}) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    auto command = start(ranks, sweep("orphans" + std::to_string(ranks) + ".sqlite"));
    ASSERT_NE(wait_for(*command, kChild), 0);
    const std::vector<Process> started = descendants(command->pid());
    EXPECT_FALSE(named(started, kSpawner).empty());
    command->send(SIGKILL);
    EXPECT_TRUE(all_end(started));
  }
}

TEST_F(ChildFaultTest, WithoutItsSpawnerTheLastWorkerIsDroppedAndTheSweepEndsAtOnce) {
  const std::string db = "spawner.sqlite";
  auto command = start(0, sweep(db, {"--worker-timeout", "3600"}));
  ASSERT_TRUE(eventually([&] { return stored_images(db) > 0; }));
  const pid_t spawner = wait_for(*command, kSpawner);
  ASSERT_NE(spawner, 0);
  ::kill(spawner, SIGKILL);
  EXPECT_EQ(command->wait(), 3) << command->output();
  EXPECT_THAT(command->output(), HasSubstr("the process that starts others was ended"));
  EXPECT_THAT(command->output(), HasSubstr("work is left, and no worker is"));
  EXPECT_THAT(command->output(), Not(HasSubstr("FAILED")));
}

TEST_F(ChildFaultTest, ASurvivingRankTakesTheWorkOfOneThatWasKilledWithItsChild) {
  auto command = start(3, sweep("rank.sqlite", {"--worker-timeout", "2"}), {"--enable-recovery"});
  ASSERT_TRUE(eventually([&] { return stored_images("rank.sqlite") > 0; }));
  std::vector<pid_t> ranks = command->children();
  std::sort(ranks.begin(), ranks.end());
  const std::vector<Process> below = descendants(ranks.back());
  EXPECT_EQ(named(below, kSpawner).size(), 1U);
  ::kill(ranks.back(), SIGKILL);
  EXPECT_TRUE(all_end(below));
  command->wait();  // mpirun's own code after MPI_Abort
  EXPECT_EQ(last_exit_code("rank.sqlite"), 0) << command->output();
}

}  // namespace
}  // namespace squant::runner
