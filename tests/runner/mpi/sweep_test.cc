// squant-sweep as a user starts it: real processes, a real mpirun, a small made-up data set and
// made-up weights.
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
#include "eval/models/models.h"
#include "results/store.h"

namespace squant::runner {
namespace {

namespace fs = std::filesystem;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

constexpr int kNumImages = 1500;

void write_idx_header(std::ofstream& file, std::uint32_t kind,
                      const std::vector<std::uint32_t>& sizes) {
  const auto put = [&](std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) file.put(static_cast<char>(value >> shift));
  };
  put(kind);
  for (const std::uint32_t size : sizes) put(size);
}

void write_dataset(const fs::path& folder) {
  std::ofstream images(folder / "images", std::ios::binary);
  std::ofstream labels(folder / "labels", std::ios::binary);
  write_idx_header(images, 0x803, {kNumImages, 28, 28});
  write_idx_header(labels, 0x801, {kNumImages});
  for (int image = 0; image < kNumImages; ++image) {
    labels.put(static_cast<char>(image % 10));
    for (int pixel = 0; pixel < 28 * 28; ++pixel) {
      images.put(static_cast<char>(
          static_cast<unsigned char>(image * 31 + pixel * 7 + (pixel * image) % 13)));
    }
  }
}

eval::StateDict made_up_weights(const std::string& model) {
  return eval::generated_state_dict(eval::model_info(model).build());
}

constexpr const char* kExperiment = R"({
  "name": "tiny",
  "dataset": {"format": "idx", "images": "images", "labels": "labels", "chunk": 50},
  "checkpoints": {"fmnist_resnet": "resnet.safetensors", "fmnist_mobilenet": "mobilenet.safetensors"},
  "settings": {"sigma": 8, "calibration_images": 8},
  "matrix": {"model": ["fmnist_resnet", "fmnist_mobilenet"], "bits": ["float", "w8a8", "w4a4"], "mode": "squant"}
})";
constexpr std::size_t kNumJobs = 6;

// What must not depend on how a sweep was run.
using Fact = std::tuple<std::string, std::string, std::string, std::int64_t, std::int64_t,
                        std::int64_t, std::string>;

class SweepTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    std::string pattern = testing::TempDir() + "squant-sweep-test-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder() = pattern;
    write_dataset(folder());
    eval::write_safetensors(folder() / "resnet.safetensors", made_up_weights("fmnist_resnet"));
    eval::write_safetensors(folder() / "mobilenet.safetensors",
                            made_up_weights("fmnist_mobilenet"));
    write("tiny.json", kExperiment);
  }
  static void TearDownTestSuite() {
    if (!testing::UnitTest::GetInstance()->Failed()) fs::remove_all(folder());
  }
  static fs::path& folder() {
    static fs::path path;
    return path;
  }
  static void write(const std::string& name, const std::string& text) {
    std::ofstream(folder() / name) << text;
  }

  // `ranks` 0: without mpirun.
  std::unique_ptr<Command> start(int ranks, std::vector<std::string> arguments,
                                 std::vector<std::string> mpi = {}) {
    std::vector<std::string> line;
    if (ranks > 0) {
      line = {SQUANT_MPIEXEC, "--oversubscribe", "-np", std::to_string(ranks)};
      line.insert(line.end(), mpi.begin(), mpi.end());
    }
    line.push_back(std::string(SQUANT_BIN_DIR) + "/squant-sweep");
    line.insert(line.end(), arguments.begin(), arguments.end());
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    return std::make_unique<Command>(line, folder(), test + std::to_string(++num_started_));
  }
  static std::vector<std::string> sweep(const std::string& db, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"tiny.json", "--db", db, "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  static std::vector<results::ResultRow> rows(const std::string& db) {
    return results::Store::open_reader(folder() / db)->results();
  }
  static std::vector<Fact> facts(const std::string& db) {
    std::vector<Fact> found;
    for (const results::ResultRow& row : rows(db)) {
      found.emplace_back(row.job.model, row.job.bits, row.job.mode, row.num_images, row.num_top1,
                         row.num_top5, row.digest.value_or(""));
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::int64_t stored_images(const std::string& db) {
    if (!fs::exists(folder() / db)) return 0;
    std::int64_t images = 0;
    try {
      for (const results::ResultRow& row : rows(db)) images += row.num_images;
    } catch (const results::StoreError&) {  // it is just being created
    }
    return images;
  }
  static int last_exit_code(const std::string& db) {
    return results::Store::open_reader(folder() / db)->runs().back().exit_code;
  }
  // What squant-results answers as CSV, without the header.
  std::string query(const std::string& db, const std::string& sql) {
    Command command({std::string(SQUANT_BIN_DIR) + "/squant-results", "query", "--db", db,
                     "--format", "csv", sql},
                    folder(), "query");
    EXPECT_EQ(command.wait(), 0) << command.output();
    const std::string text = command.output();
    return text.substr(text.find('\n') + 1);
  }
  // Every job's sums by class add up to its own, and its images' outcomes to both.
  void expect_classes_add_up(const std::string& db, std::size_t num_jobs) {
    EXPECT_EQ(query(db,
                    "SELECT count(*) FROM results r"
                    " JOIN (SELECT identity, sum(num_images) AS n, sum(num_top1) AS t1,"
                    " sum(num_top5) AS t5 FROM classes GROUP BY identity) c USING (identity)"
                    " JOIN (SELECT identity, count(*) AS n, sum(outcome = 'top1') AS t1,"
                    " sum(outcome IN ('top1', 'top5')) AS t5 FROM images GROUP BY identity) i"
                    " USING (identity) WHERE r.num_images = c.n AND r.num_top1 = c.t1"
                    " AND r.num_top5 = c.t5 AND i.n = c.n AND i.t1 = c.t1 AND i.t5 = c.t5"),
              std::to_string(num_jobs) + "\n");
    Command doctor({std::string(SQUANT_BIN_DIR) + "/squant-results", "doctor", "--db", db},
                   folder(), "doctor");
    EXPECT_EQ(doctor.wait(), 0) << doctor.output();
  }
  std::string classes(const std::string& db) {
    return query(db,
                 "SELECT model, bits, mode, class, num_images, num_top1, num_top5 FROM classes"
                 " ORDER BY model, bits, mode, class");
  }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
      ++found;
    return found;
  }

 private:
  int num_started_ = 0;
};

TEST_F(SweepTest, AnyNumberOfRanksGivesTheSameRowsAndDigests) {
  std::vector<Fact> alone;
  for (const int ranks : {0, 1, 2, 3}) {
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
  for (const char* db : {"ranks0.sqlite", "ranks1.sqlite", "ranks3.sqlite"}) {
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
  EXPECT_GT(stored_images("budget.sqlite"), 0);
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
      const fs::path cache =
          folder() / ("node" + std::to_string(rank)) / "squant-sweep" / "checkpoints";
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
  EXPECT_THAT(log("hidden.sqlite"), HasSubstr("checkpoints are broadcast over MPI: rank "));
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
