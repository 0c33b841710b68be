// squant-sweep as a user starts it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "command.h"
#include "eval/checkpoint/checkpoint.h"
#include "eval/checkpoint/safetensors.h"
#include "results/store.h"
#include "sweep_fixture.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

TEST_F(SweepTest, AnyNumberOfRanksGivesTheSameRowsAndDigests) {
  std::vector<Fact> alone;
  for (const int ranks : {0, 1, 2, 4}) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    const std::string db = "ranks" + std::to_string(ranks) + ".sqlite";
    auto command = start(ranks, sweep(db, {"--images", "300", "--batch", ranks == 2 ? "7" : "64"}));
    ASSERT_EQ(command->wait(), 0) << command->output();
    const std::vector<Fact> found = facts(db);
    ASSERT_EQ(found.size(), kNumJobs);
    if (ranks == 0) alone = found;
    EXPECT_EQ(found, alone);
    EXPECT_EQ(last_exit_code(db), 0);
    EXPECT_EQ(results::Store::open_reader(folder() / db)->runs().at(0).world_size,
              std::max(ranks, 1));
  }
  for (const char* db : {"ranks0.sqlite", "ranks1.sqlite", "ranks4.sqlite"}) {
    expect_classes_add_up(db, kNumJobs);
    EXPECT_EQ(classes(db), classes("ranks0.sqlite"));
  }
  for (const Fact& fact : alone) {
    EXPECT_EQ(std::get<3>(fact), 300);
    EXPECT_EQ(std::get<6>(fact).size(), std::get<1>(fact) == "float" ? 0U : 32U)
        << std::get<1>(fact);
  }
}

TEST_F(SweepTest, InterruptedDrainedAndKilledItGoesOnToTheSameRows) {
  auto whole = start(3, sweep("whole.sqlite"));
  ASSERT_EQ(whole->wait(), 0) << whole->output();

  const std::string db = "parts.sqlite";
  const auto run_for_a_while = [&] {
    const std::int64_t before = stored_images(db);
    auto command = start(3, sweep(db));
    EXPECT_TRUE(eventually([&] { return stored_images(db) > before || !command->running(); }));
    return command;
  };
  auto interrupted = run_for_a_while();
  interrupted->send(SIGINT);
  EXPECT_NE(interrupted->wait(), 0);  // mpirun's own code
  EXPECT_THAT(interrupted->output(), HasSubstr("the same command goes on from there"));
  EXPECT_EQ(last_exit_code(db), 3);

  auto drained = run_for_a_while();
  drained->send(SIGUSR1);
  EXPECT_EQ(drained->wait(), 3) << drained->output();
  EXPECT_THAT(drained->output(), HasSubstr("work is left"));
  EXPECT_EQ(last_exit_code(db), 3);

  auto killed = run_for_a_while();
  killed->kill_all();
  EXPECT_EQ(last_exit_code(db), -1);
  const std::int64_t stored = stored_images(db);
  EXPECT_LT(stored, static_cast<std::int64_t>(kNumJobs) * kNumImages);

  auto rest = start(3, sweep(db));
  ASSERT_EQ(rest->wait(), 0) << rest->output();
  EXPECT_EQ(facts(db), facts("whole.sqlite"));
  expect_classes_add_up(db, kNumJobs);
  expect_classes_add_up("whole.sqlite", kNumJobs);
  EXPECT_EQ(classes(db), classes("whole.sqlite"));

  auto nothing = start(3, sweep(db));
  EXPECT_EQ(nothing->wait(), 0);
  EXPECT_THAT(nothing->output(), HasSubstr("everything was finished earlier: nothing to do"));
}

TEST_F(SweepTest, WithoutMpirunSigtermStopsWithCodeThree) {
  const std::string db = "alone.sqlite";
  auto command = start(0, sweep(db));
  ASSERT_TRUE(eventually([&] { return stored_images(db) > 0; }));
  command->send(SIGTERM);
  EXPECT_EQ(command->wait(), 3) << command->output();
  EXPECT_THAT(command->output(),
              HasSubstr("stopped by SIGTERM: everything that was finished is in alone.sqlite"));
}

TEST_F(SweepTest, ATimeBudgetLeavesWorkForTheNextRun) {
  auto command = start(0, sweep("budget.sqlite", {"--time-budget", "1"}));
  EXPECT_EQ(command->wait(), 3) << command->output();
  EXPECT_THAT(command->output(), HasSubstr("the time budget"));
  EXPECT_LT(stored_images("budget.sqlite"), kNumJobs * kNumImages);
  auto again = start(0, sweep("budget.sqlite"));
  EXPECT_EQ(again->wait(), 0) << again->output();
}

TEST_F(SweepTest, AKilledWorkerCostsOneTaskUnderEnableRecovery) {
  const std::string db = "recovered.sqlite";
  auto command = start(4, sweep(db, {"--worker-timeout", "2"}), {"--enable-recovery"});
  ASSERT_TRUE(eventually([&] { return stored_images(db) > 0; }));
  std::vector<pid_t> ranks = command->children();
  std::sort(ranks.begin(), ranks.end());
  ASSERT_EQ(ranks.size(), 4U);
  ::kill(ranks.back(), SIGKILL);
  command->wait();  // mpirun's own code after MPI_Abort
  EXPECT_THAT(command->output(), HasSubstr("is lost: nothing was heard of it for 2 s"));
  EXPECT_EQ(last_exit_code(db), 0);
  for (const Fact& fact : facts(db)) EXPECT_EQ(std::get<3>(fact), kNumImages);
}

TEST_F(SweepTest, AFailingJobIsSaidStoredAndTriedAgainOnRequestWhileTheRestGoesOn) {
  // Finite weights, so that the plan finds nothing wrong; but activations overflow when their
  // ranges are measured.
  eval::StateDict weights = made_up_weights("fmnist_resnet");
  for (auto& [name, tensor] : weights) {
    if (name.ends_with(".running_var")) std::fill(tensor.values.begin(), tensor.values.end(), 0.0F);
    if (tensor.shape.size() == 4) {
      for (float& value : tensor.values) value *= 1e30F;
    }
  }
  eval::write_safetensors(folder() / "broken.safetensors", weights);
  const std::vector<std::string> arguments = sweep(
      "failing.sqlite", {"--images", "100", "--set", "checkpoints.fmnist_resnet=broken.safetensors",
                         "--only", "bits=w4a4"});
  auto command = start(3, arguments);
  EXPECT_EQ(command->wait(), 1) << command->output();
  EXPECT_EQ(count(command->output(), "FAILED fmnist_resnet"), 1U) << command->output();
  bool one_failed = false;
  for (const results::ResultRow& row : rows("failing.sqlite")) {
    if (row.job.model == "fmnist_resnet") {
      one_failed = true;
      EXPECT_EQ(row.verdict, "failed");
      EXPECT_THAT(row.failure, HasSubstr("must be finite"));
      const auto state =
          results::Store::open_reader(folder() / "failing.sqlite")->job_state(row.job);
      ASSERT_TRUE(state.failure);
      EXPECT_THAT(state.failure->log_tail, HasSubstr("prepare fmnist_resnet"));
    } else {
      EXPECT_EQ(row.num_images, 100);
    }
  }
  EXPECT_TRUE(one_failed);

  auto again = start(0, arguments);
  EXPECT_EQ(again->wait(), 1);
  EXPECT_THAT(again->output(), HasSubstr("nothing to do"));
  EXPECT_EQ(count(again->output(), "FAILED"), 0U);
  std::vector<std::string> retry = arguments;
  retry.push_back("--retry-failed");
  auto retried = start(0, retry);
  EXPECT_EQ(retried->wait(), 1);
  EXPECT_EQ(count(retried->output(), "FAILED fmnist_resnet"), 1U) << retried->output();
}

TEST_F(SweepTest, ASecondCoordinatorIsRefusedWithTheFirstOnesName) {
  const std::string db = "shared.sqlite";
  auto first = start(0, sweep(db));
  ASSERT_TRUE(eventually([&] { return stored_images(db) > 0; }));
  auto second = start(0, sweep(db));
  EXPECT_EQ(second->wait(), 4) << second->output();
  EXPECT_THAT(second->output(), HasSubstr("pid"));
  EXPECT_EQ(count(second->output(), "squant-sweep: shared.sqlite"), 1U) << second->output();
  EXPECT_TRUE(first->running());
  first->send(SIGTERM);
  EXPECT_EQ(first->wait(), 3);
}

TEST_F(SweepTest, ADryRunShowsEveryCellAndTouchesNothing) {
  auto command = start(3, sweep("never.sqlite", {"--dry-run", "--exclude-where", "bits=float"}));
  EXPECT_EQ(command->wait(), 0) << command->output();
  EXPECT_THAT(command->output(), HasSubstr("4 jobs: 4 new"));
  EXPECT_THAT(command->output(), HasSubstr("excluded by --exclude-where bits=float"));
  EXPECT_FALSE(fs::exists(folder() / "never.sqlite"));

  auto part = start(0, sweep("known.sqlite", {"--images", "100", "--only", "bits=w8a8"}));
  ASSERT_EQ(part->wait(), 0) << part->output();
  const auto snapshot = [&] {
    std::ifstream file(folder() / "known.sqlite", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const auto before = snapshot();
  auto again = start(0, sweep("known.sqlite", {"--images", "150", "--dry-run"}));
  EXPECT_EQ(again->wait(), 0) << again->output();
  EXPECT_THAT(again->output(), HasSubstr("6 jobs: 4 new, 2 partly finished"));
  EXPECT_THAT(again->output(), HasSubstr("partly finished, 2/3 tiles"));
  EXPECT_TRUE(snapshot() == before);
}

TEST_F(SweepTest, EverythingWrongWithAnExperimentIsSaidOnce) {
  write("bad.json", R"({"dataset": {"format": "idx", "images": "nowhere", "labels": "labels"},
    "checkpoints": {"fmnist_resnet": "resnet.safetensors"},
    "matrix": {"model": "fmnist_resnet", "bist": ["w4"], "bits": "w9"}})");
  auto command = start(3, {"bad.json", "--db", "bad.sqlite"});
  EXPECT_EQ(command->wait(), 2) << command->output();
  EXPECT_EQ(count(command->output(), "did you mean 'bits'"), 1U) << command->output();
  EXPECT_EQ(count(command->output(), "bad.json:3"), 2U) << command->output();
  EXPECT_FALSE(fs::exists(folder() / "bad.sqlite"));
}

TEST_F(SweepTest, ATruncatedCheckpointIsBadInput) {
  std::ifstream whole(folder() / "resnet.safetensors", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(whole), {});
  write("truncated.safetensors", bytes.substr(0, bytes.size() / 2));
  auto command = start(
      2, sweep("truncated.sqlite", {"--set", "checkpoints.fmnist_resnet=truncated.safetensors"}));
  EXPECT_EQ(command->wait(), 2) << command->output();
  EXPECT_EQ(count(command->output(), "squant-sweep: "), 1U) << command->output();
  EXPECT_THAT(command->output(), HasSubstr("truncated.safetensors"));
  EXPECT_FALSE(fs::exists(folder() / "truncated.sqlite"));
}

TEST_F(SweepTest, WrongUseIsSaidOnceBeforeMpiIsUp) {
  auto unknown = start(3, {"tiny.json", "--no-such-option"});
  EXPECT_EQ(unknown->wait(), 2);
  EXPECT_EQ(count(unknown->output(), "--no-such-option"), 1U) << unknown->output();
  auto device = start(3, {"tiny.json", "--device", "cuda"});
  EXPECT_EQ(device->wait(), 2);
  EXPECT_EQ(count(device->output(), "--device cuda"), 1U) << device->output();
}

TEST_F(SweepTest, ForceComputesAgainAndFindsTheSame) {
  auto first = start(0, sweep("forced.sqlite", {"--images", "100", "--only", "bits=w4a4"}));
  ASSERT_EQ(first->wait(), 0) << first->output();
  const auto before = facts("forced.sqlite");
  auto second =
      start(0, sweep("forced.sqlite", {"--images", "100", "--only", "bits=w4a4", "--force"}));
  ASSERT_EQ(second->wait(), 0) << second->output();
  EXPECT_THAT(second->output(), HasSubstr("200 evaluations in"));
  EXPECT_EQ(facts("forced.sqlite"), before);
}

// Each rank with a cache folder of its own is a node of its own. /proc/self/cwd/resnet.safetensors
// is a path that rank 0 alone can see.
class BroadcastTest : public SweepTest {
 protected:
  static std::vector<std::string> on_nodes(std::vector<std::string> arguments) {
    const std::string script =
        "node=$PWD/node$OMPI_COMM_WORLD_RANK; mkdir -p $node; export XDG_CACHE_HOME=$node; "
        "test $OMPI_COMM_WORLD_RANK = 0 || cd $node; exec " +
        std::string(SQUANT_BIN_DIR) + "/squant-sweep \"$@\"";
    std::vector<std::string> line{
        SQUANT_MPIEXEC, "--oversubscribe", "-np", "4", "sh", "-c", script, "sh"};
    line.insert(line.end(), arguments.begin(), arguments.end());
    return line;
  }
  static std::vector<std::string> hidden(const std::string& db, std::vector<std::string> more) {
    std::vector<std::string> arguments =
        sweep(db, {"--images", "300", "--only", "model=fmnist_resnet", "--set",
                   "checkpoints.fmnist_resnet=/proc/self/cwd/resnet.safetensors", "--log-file",
                   db + ".log"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return on_nodes(arguments);
  }
  static std::size_t copies() {
    std::size_t found = 0;
    for (int rank = 0; rank < 4; ++rank) {
      const fs::path cache = folder() / ("node" + std::to_string(rank)) / "squant-sweep" / "files";
      std::error_code error;
      for (const auto& entry : fs::directory_iterator(cache, error)) {
        ++found;
        EXPECT_EQ(eval::sha256_file(entry.path()), entry.path().filename());
      }
    }
    return found;
  }
  void SetUp() override {
    for (int rank = 0; rank < 4; ++rank) {
      fs::remove_all(folder() / ("node" + std::to_string(rank)));
    }
  }
  static std::string log(const std::string& db) {
    std::ifstream file(folder() / (db + ".log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
};

TEST_F(BroadcastTest, NodesThatLackTheCheckpointGetItAndGiveTheSameDigests) {
  auto plain = start(3, sweep("seen.sqlite", {"--images", "300", "--only", "model=fmnist_resnet"}));
  ASSERT_EQ(plain->wait(), 0) << plain->output();
  EXPECT_THAT(plain->output(), Not(HasSubstr("MiB sent")));

  Command command(hidden("hidden.sqlite", {}), folder(), "hidden");
  ASSERT_EQ(command.wait(), 0) << command.output();
  EXPECT_THAT(command.output(), ContainsRegex("checkpoint resnet.safetensors: [0-9.]+ MiB sent to "
                                              "[123] nodes? in [0-9.]+ s over MPI"));
  EXPECT_THAT(log("hidden.sqlite"), HasSubstr("files are broadcast over MPI: rank "));
  EXPECT_EQ(facts("hidden.sqlite"), facts("seen.sqlite"));
  EXPECT_GE(copies(), 1U);

  const std::size_t before = copies();
  Command again(hidden("again.sqlite", {}), folder(), "again");
  ASSERT_EQ(again.wait(), 0) << again.output();
  EXPECT_EQ(facts("again.sqlite"), facts("seen.sqlite"));
  EXPECT_GE(copies(), before);
}

TEST_F(BroadcastTest, ForcedItIsSentWhereThePathCouldBeReadToo) {
  Command command(on_nodes(sweep("forced-mpi.sqlite", {"--images", "300", "--broadcast", "mpi"})),
                  folder(), "forced-mpi");
  ASSERT_EQ(command.wait(), 0) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("checkpoint mobilenet.safetensors: "));
}

TEST_F(BroadcastTest, SwitchedOffTheJobFailsAndNamesThePath) {
  Command command(hidden("off.sqlite", {"--broadcast", "off"}), folder(), "off");
  EXPECT_EQ(command.wait(), 1) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("/proc/self/cwd/resnet.safetensors"));
  EXPECT_EQ(copies(), 0U);
}

TEST_F(BroadcastTest, ImagesThatOneNodeAloneHasAreSentPackedAndGiveTheSameDigests) {
  const auto with_images = [](const std::string& db, std::vector<std::string> more) {
    more.insert(more.end(), {"--set", "dataset.images=/proc/self/cwd/images", "--set",
                             "dataset.labels=/proc/self/cwd/labels"});
    return hidden(db, more);
  };
  auto plain =
      start(3, sweep("whole.sqlite", {"--images", "300", "--only", "model=fmnist_resnet"}));
  ASSERT_EQ(plain->wait(), 0) << plain->output();
  Command without(with_images("without.sqlite", {}), folder(), "without");
  EXPECT_EQ(without.wait(), 1) << "the workers see no images\n" << without.output();

  Command sent(with_images("sent.sqlite", {"--broadcast-images", "--broadcast", "mpi"}), folder(),
               "sent");
  ASSERT_EQ(sent.wait(), 0) << sent.output();
  EXPECT_THAT(sent.output(), HasSubstr("images idx 28x28: packed in "));
  EXPECT_THAT(sent.output(),
              ContainsRegex("images idx 28x28: [0-9.]+ MiB sent to [123] nodes? in "));
  EXPECT_EQ(facts("sent.sqlite"), facts("whole.sqlite"));
  EXPECT_GE(copies(), 3U);  // the coordinator's pack, and two files at one worker at least

  // The next one packs the same file again, and no node needs it.
  const std::size_t before = copies();
  Command again(with_images("sent.sqlite", {"--broadcast-images", "--force"}), folder(), "resent");
  ASSERT_EQ(again.wait(), 0) << again.output();
  EXPECT_EQ(facts("sent.sqlite"), facts("whole.sqlite"));
  EXPECT_THAT(again.output(), Not(HasSubstr("images idx 28x28: [0-9.]+ MiB sent")));
  EXPECT_GE(copies(), before);
}

TEST_F(BroadcastTest, ImagesThatCannotBePackedEndTheSweepAtItsBeginning) {
  fs::create_directories(folder() / "node0");
  std::ofstream(folder() / "node0" / "squant-sweep") << "in the way";
  Command command(hidden("unpacked.sqlite", {"--broadcast-images"}), folder(), "unpacked");
  EXPECT_EQ(command.wait(), 2) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("--broadcast-images: "));
  EXPECT_THAT(command.output(), HasSubstr("node0/squant-sweep"));
}

TEST_F(BroadcastTest, ImagesCannotBeSentWhereNothingIs) {
  auto command = start(2, sweep("never.sqlite", {"--broadcast-images", "--broadcast", "off"}));
  EXPECT_EQ(command->wait(), 2);
  EXPECT_EQ(count(command->output(), "--broadcast off sends nothing"), 1U) << command->output();
}

TEST_F(BroadcastTest, NcclBetweenCpusIsWrongUse) {
  auto command = start(2, sweep("never.sqlite", {"--broadcast", "nccl"}));
  EXPECT_EQ(command->wait(), 2);
  EXPECT_EQ(count(command->output(), "--broadcast nccl: rank 1 computes on the CPU"), 1U)
      << command->output();
}

TEST_F(SweepTest, PredictionsAreKeptOnRequestAlsoOfASweepThatIsFinished) {
  const std::string db = "predictions.sqlite";
  auto without = start(0, sweep(db, {"--images", "120", "--exclude-where", "bits=w8a8"}));
  ASSERT_EQ(without->wait(), 0) << without->output();
  const auto before = facts(db);
  const std::string num_predicted = "SELECT count(predicted), sum(predicted = class) FROM images";
  EXPECT_EQ(query(db, num_predicted), "0,\n");

  const auto with = sweep(db, {"--images", "150", "--exclude-where", "bits=w8a8", "--set",
                               "settings.predictions=true"});
  auto more = start(3, with);
  ASSERT_EQ(more->wait(), 0) << more->output();
  // Of each of four jobs the first two tiles of 50 are there already, and come again.
  EXPECT_THAT(more->output(), HasSubstr("600 evaluations in"));
  const std::string right = query(db, "SELECT sum(num_top1) FROM results WHERE num_planned = 150");
  EXPECT_EQ(query(db, num_predicted + " WHERE num_planned = 150"), "600," + right);
  for (const Fact& fact : before) EXPECT_THAT(facts(db), testing::Contains(fact));
  expect_classes_add_up(db, 8);

  auto again = start(0, with);
  EXPECT_EQ(again->wait(), 0);
  EXPECT_THAT(again->output(), HasSubstr("nothing to do"));
}

TEST_F(SweepTest, OutputThatGoesToAFileHasNoEscapeCodes) {
  auto command = start(2, sweep("plain.sqlite", {"--images", "100"}));
  ASSERT_EQ(command->wait(), 0) << command->output();
  EXPECT_THAT(command->output(), Not(HasSubstr("\x1b[")));
  auto quiet = start(2, sweep("plain.sqlite", {"--images", "100", "--quiet"}));
  ASSERT_EQ(quiet->wait(), 0);
  EXPECT_THAT(quiet->output(), testing::StartsWith("model "));
}

}  // namespace
}  // namespace squant::runner
