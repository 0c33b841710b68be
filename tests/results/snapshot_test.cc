// Looking at a database on a network file system while a sweep writes it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include "results/connection.h"
#include "results/store.h"
#include "tests/results/program_fixture.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr double kNever = 1e6;  // seconds from snapshot to snapshot: only the last one

// Every database is on a network file system as long as it lives, for this process and its
// children.
struct NetworkFileSystem {
  NetworkFileSystem() { ::setenv("SQUANT_DATABASE_ON", "network", 1); }
  ~NetworkFileSystem() { ::unsetenv("SQUANT_DATABASE_ON"); }
};

JobRow job_of(std::int64_t num_tiles) {
  return sample_job("resnet18", "w4a4", "squant", 10 * num_tiles, 10);
}

bool wait_until(const std::function<bool()>& condition) {
  for (int tries = 0; tries < 3000; ++tries) {
    if (condition()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

class SnapshotTest : public ProgramTest {
 protected:
  std::unique_ptr<Store> open_writer(double interval_s) {
    return Store::open_writer(path_, false, {interval_s, [this](const std::string& warning) {
                                               const std::lock_guard guard(mutex_);
                                               warnings_.push_back(warning);
                                             }});
  }
  // A run over `num_tiles` tiles, as many of them stored as `num_stored` says.
  std::int64_t begin(Store& store, const JobRow& job, int num_stored) {
    const std::int64_t run = begin_sample_run(store);
    store.add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
    std::vector<TileRow> tiles;
    for (int i = 0; i < num_stored; ++i) tiles.push_back(sample_tile(job, run, 10 * i, 5));
    store.commit_tiles(tiles);
    return run;
  }
  std::string images_in(const std::string& path) {
    return plain_sql(path, "SELECT num_images FROM results");
  }
  bool has_snapshot() { return std::filesystem::exists(snapshot_); }
  // In a process of its own, until it is killed.
  pid_t in_child(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    try {
      body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(1);
  }
  static void kill_child(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  std::string path_ = folder_.path("results.sqlite");
  std::string snapshot_ = path_ + ".snapshot";
  std::mutex mutex_;
  std::vector<std::string> warnings_;
};

TEST_F(SnapshotTest, ViewerSeesTheSnapshotOfALiveWriterAndSaysSo) {
  const pid_t child = in_child([&] {
    const NetworkFileSystem network;
    const auto store = open_writer(0.05);
    begin(*store, job_of(100), 30);
    for (;;) ::pause();
  });
  ASSERT_TRUE(wait_until([&] { return has_snapshot() && images_in(snapshot_) == "300"; }));
  const auto expect_snapshot = [&](const char* why) {
    const Answer status = run("status");
    EXPECT_EQ(status.code, 3);
    EXPECT_THAT(status.text, HasSubstr("running"));
    // To standard error, and below the table.
    const std::string note = std::string("results.sqlite ") + why +
                             "; shown is its snapshot of 20..-..-.. ..:..:.. UTC .[0-9]+ s old.\n";
    EXPECT_THAT(status.text, ContainsRegex("squant-results: .*" + note));
    EXPECT_THAT(status.text, ContainsRegex("being written by host .*\n.*" + note));
    EXPECT_THAT(run("query 'SELECT num_images FROM results' --format csv 2>/dev/null").text,
                "num_images\n300\n");
    EXPECT_THAT(run("compare @1 @last").text, ContainsRegex(note));
  };
  {
    const NetworkFileSystem network;
    expect_snapshot("is being written");
  }
  EXPECT_THAT(run("show").text, HasSubstr("is held by its writer; shown is its snapshot of"));
  kill_child(child);
  EXPECT_THAT(run("status").text, AllOf(Not(HasSubstr("snapshot")), HasSubstr("stopped")));
}

TEST_F(SnapshotTest, IsPublishedOnceMoreAtTheEndWithTheLockGivenBack) {
  {
    const NetworkFileSystem network;
    const auto store = open_writer(kNever);
    begin(*store, job_of(100), 30);
    EXPECT_FALSE(has_snapshot());
    std::filesystem::permissions(path_, std::filesystem::perms(0640));
  }
  EXPECT_EQ(std::filesystem::status(snapshot_).permissions(), std::filesystem::perms(0640));
  EXPECT_EQ(images_in(snapshot_), "300");
  EXPECT_EQ(plain_sql(snapshot_, "SELECT held FROM writer"), "0");
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(run("status").text, Not(HasSubstr("snapshot")));
}

TEST_F(SnapshotTest, FollowsCommitsWhileItIsCopied) {
  const NetworkFileSystem network;
  const JobRow job = job_of(40'000);
  const auto store = open_writer(0);
  const std::int64_t run = begin(*store, job, 20'000);
  for (int i = 20'000; i < 20'100; ++i)
    store->commit_tiles(std::vector{sample_tile(job, run, 10 * i, 5)});
  ASSERT_TRUE(wait_until([&] { return has_snapshot() && images_in(snapshot_) == "201000"; }));
  EXPECT_EQ(plain_sql(snapshot_, "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(plain_sql(snapshot_, "SELECT sum(count) FROM tile"), "201000");
}

TEST_F(SnapshotTest, HeartbeatAloneMakesNone) {
  const NetworkFileSystem network;
  {
    const auto store = open_writer(0);
    begin(*store, job_of(10), 10);
  }
  EXPECT_EQ(images_in(snapshot_), "100") << "its end waits for the last one";
  std::filesystem::remove(snapshot_);
  open_writer(0)->heartbeat();
  EXPECT_FALSE(has_snapshot());
}

TEST_F(SnapshotTest, LocalDiskNeedsNone) {
  {
    const auto store = open_writer(0);
    begin(*store, job_of(10), 10);
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_FALSE(has_snapshot());
}

TEST_F(SnapshotTest, KilledWriterLeavesAWholeSnapshotAndTheNextOneRemovesTheDraft) {
  const NetworkFileSystem network;
  const JobRow job = job_of(1'000'000);
  begin(*open_writer(kNever), job, 20'000);
  std::mt19937 random(20260131);
  int num_drafts = 0;
  const auto has_draft = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(folder_.folder()))
      if (entry.path().extension() == ".draft") return true;
    return false;
  };
  for (int round = 0; round < 12; ++round) {
    const pid_t child = in_child([&] {
      const auto store = open_writer(0);
      const std::int64_t run = begin_sample_run(*store);
      store->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
      for (std::int64_t i = 20'000;; ++i)
        store->commit_tiles(std::vector{sample_tile(job, run, 10 * (1000 * round + i), 5)});
    });
    ASSERT_TRUE(wait_until(has_draft));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
    kill_child(child);
    num_drafts += has_draft() ? 1 : 0;
    ASSERT_EQ(plain_sql(snapshot_, "PRAGMA integrity_check"), "ok");
    ASSERT_EQ(
        plain_sql(snapshot_, "SELECT num_images = (SELECT sum(count) FROM tile) FROM results"),
        "1");
    // The file itself, or the snapshot where the file was left in the middle of a commit.
    ASSERT_EQ(run("query 'SELECT count(*) > 0 AS n FROM tiles' --format csv 2>/dev/null").text,
              "n\n1\n");
  }
  EXPECT_GT(num_drafts, 0);
  open_writer(kNever);
  EXPECT_FALSE(has_draft());
}

TEST_F(SnapshotTest, HalfCommittedFileIsShownByItsSnapshot) {
  const NetworkFileSystem network;
  begin(*open_writer(kNever), job_of(100), 30);
  const pid_t child = in_child([&] {
    const auto connection = Connection::open_writer(path_);
    connection->exec("PRAGMA cache_size = 1");  // so that it writes before it commits
    connection->exec("BEGIN IMMEDIATE");
    connection->exec(
        "WITH RECURSIVE n(i) AS (SELECT 300 UNION ALL SELECT i + 10 FROM n WHERE i < 90000)"
        " INSERT INTO tile SELECT evaluation_id, i, count, num_top1, num_top5, num_broken, digest,"
        " run_id, rank, compute_ms, load_ms, finished_at, outcomes FROM n, tile WHERE first = 0");
    ::raise(SIGKILL);
  });
  ::waitpid(child, nullptr, 0);
  const Answer status = run("status");
  EXPECT_EQ(status.code, 3);
  EXPECT_THAT(status.text, HasSubstr("was left in the middle of a commit"));
  EXPECT_EQ(run("query 'SELECT num_images FROM results' --format csv 2>/dev/null").text,
            "num_images\n300\n");
  std::filesystem::remove(snapshot_);
  const Answer without = run("status");
  EXPECT_EQ(without.code, 2);
  EXPECT_THAT(without.text, HasSubstr("the next squant-sweep undoes that"));
  open_writer(kNever);
  EXPECT_EQ(images_in(path_), "300");
}

TEST_F(SnapshotTest, FullDiskCostsTheSnapshotOnlyAndIsSaid) {
  const NetworkFileSystem network;
  begin(*open_writer(kNever), job_of(100), 30);
  auto store = open_writer(kNever);
  begin(*store, job_of(20'000), 10'000);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = old_limit;
  limit.rlim_cur = 300'000;  // the database is larger
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  store.reset();
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("cannot write a snapshot for viewers"),
                                           HasSubstr("no space is left"))));
  EXPECT_EQ(plain_sql(snapshot_, "SELECT count(*) FROM tile"), "30");  // the one before
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM tile"), "10000");
  int num_files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.folder()))
    ++num_files;
  EXPECT_EQ(num_files, 3);  // with the journal, which is empty
}

TEST_F(SnapshotTest, FailedOneIsTriedAgainWithoutAnotherCommit) {
  const NetworkFileSystem network;
  std::filesystem::create_directory(snapshot_);  // no file can take its name
  const auto store = open_writer(0.02);
  begin(*store, job_of(10), 10);
  const auto num_warnings = [&] {
    const std::lock_guard guard(mutex_);
    return warnings_.size();
  };
  ASSERT_TRUE(wait_until([&] { return num_warnings() == 1; }));
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(num_warnings(), 1U);  // it is said once
  std::filesystem::remove(snapshot_);
  ASSERT_TRUE(wait_until([&] { return num_warnings() == 2; }));
  EXPECT_EQ(images_in(snapshot_), "100");
  const std::lock_guard guard(mutex_);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("cannot publish a snapshot for viewers"),
                                     HasSubstr("are written again")));
}

TEST_F(SnapshotTest, OtherThanNetworkIsRefused) {
  ::setenv("SQUANT_DATABASE_ON", "moon", 1);
  std::string error;
  try {
    open_writer(kNever);
  } catch (const StoreError& problem) {
    error = problem.what();
  }
  ::unsetenv("SQUANT_DATABASE_ON");
  EXPECT_THAT(error, HasSubstr("SQUANT_DATABASE_ON is 'moon'; it can only be 'network'"));
}

}  // namespace
}  // namespace squant::results
