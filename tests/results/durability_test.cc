// What is committed stays, whatever happens to the process, the disk or the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "results/connection.h"
#include "results/store.h"
#include "results/writer_lock.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::HasSubstr;

constexpr std::int64_t kManyImages = 2'000'000;

JobRow large_job() { return sample_job("resnet18", "w4a4", "squant", kManyImages, 10); }

// Commits tiles one batch after another and tells each acknowledged tile through the pipe, until it
// is killed.
[[noreturn]] void write_until_killed(const std::string& path, int acknowledge, unsigned seed) {
  std::mt19937 random(seed);
  const JobRow job = large_job();
  const auto store = Store::open_writer(path);
  const std::int64_t run = begin_sample_run(*store);
  store->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
  const auto finished = store->job_state(job).finished;
  std::int64_t first = finished.empty() ? 0 : finished.back().first + job.chunk;
  for (;;) {
    std::vector<TileRow> batch;
    const std::size_t size = 1 + random() % 40;
    for (std::size_t i = 0; i < size; ++i, first += job.chunk)
      batch.push_back(sample_tile(job, run, first, 5));
    store->commit_tiles(batch);
    if (::write(acknowledge, &first, sizeof first) != sizeof first) ::_exit(1);
  }
}

TEST(DurabilityTest, EveryAcknowledgedTileSurvivesSigkill) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  std::mt19937 random(20260131);
  std::int64_t acknowledged = 0;
  for (unsigned round = 0; round < 12; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const pid_t child = ::fork();
    if (child == 0) write_until_killed(path, pipe[1], round);
    ::close(pipe[1]);
    std::int64_t end = 0;
    ASSERT_EQ(::read(pipe[0], &end, sizeof end), static_cast<ssize_t>(sizeof end));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    do {
      acknowledged = std::max(acknowledged, end);
    } while (::read(pipe[0], &end, sizeof end) == static_cast<ssize_t>(sizeof end));
    ::close(pipe[0]);

    ASSERT_EQ(plain_sql(path, "PRAGMA integrity_check"), "ok");
    ASSERT_GE(
        plain_sql(path, "SELECT count(*) FROM tile WHERE first < " + std::to_string(acknowledged)),
        std::to_string(acknowledged / 10));
    ASSERT_EQ(
        plain_sql(path, "SELECT count(*) FROM tile WHERE first < " + std::to_string(acknowledged)),
        std::to_string(acknowledged / 10));
    ASSERT_EQ(plain_sql(path,
                        "SELECT t.num_images = (SELECT sum(count) FROM tile) AND t.num_tiles ="
                        " (SELECT count(*) FROM tile) FROM total t"),
              "1");
  }
  EXPECT_GT(acknowledged, 0);
}

class LimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open_writer(path_);
    run_ = begin_sample_run(*store_);
    store_->add_jobs(run_, std::vector<Store::PlannedJob>{{job_, {}}});
  }
  std::vector<TileRow> batch(std::int64_t first, int size) {
    std::vector<TileRow> tiles;
    for (int i = 0; i < size; ++i)
      tiles.push_back(sample_tile(job_, run_, first + i * job_.chunk, 5));
    return tiles;
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path("results.sqlite");
  JobRow job_ = large_job();
  std::unique_ptr<Store> store_;
  std::int64_t run_ = 0;
};

TEST_F(LimitTest, FullDiskStoresNothingOfTheBatchAndTheNextTrySucceeds) {
  store_->commit_tiles(batch(0, 10));
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = old_limit;
  limit.rlim_cur = 300'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::string error;
  try {
    store_->commit_tiles(batch(100, 5000));
  } catch (const StoreFull& full) {
    error = full.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(error, HasSubstr("no space is left; nothing of this was written"));
  EXPECT_EQ(store_->results().at(0).num_images, 100);
  store_->commit_tiles(batch(100, 5000));
  EXPECT_EQ(store_->results().at(0).num_images, 50'100);
  store_.reset();
  EXPECT_EQ(plain_sql(path_, "PRAGMA integrity_check"), "ok");
}

// In a child with its own mounts: 0 passed, 1 failed, 2 mounting is not allowed here.
int fill_small_disk(const std::string& folder) {
  if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 2;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 2;
  if (::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=1m") != 0) return 2;
  const JobRow job = large_job();
  const auto store = Store::open_writer(folder + "/results.sqlite");
  const std::int64_t run = begin_sample_run(*store);
  store->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
  const std::string ballast = folder + "/ballast";
  std::ofstream(ballast) << std::string(300'000, 'x');
  std::int64_t first = 0;
  try {
    for (; first < kManyImages; first += 100 * job.chunk) {
      std::vector<TileRow> tiles;
      for (int i = 0; i < 100; ++i)
        tiles.push_back(sample_tile(job, run, first + i * job.chunk, 5));
      store->commit_tiles(tiles);
    }
    return 1;
  } catch (const StoreFull&) {
  }
  if (store->results().at(0).num_images != first) return 1;
  ::unlink(ballast.c_str());
  store->commit_tiles(std::vector{sample_tile(job, run, first, 5)});
  return store->results().at(0).num_images == first + job.chunk ? 0 : 1;
}

TEST(DiskTest, FullFileSystemIsStoreFullAndFreedSpaceIsUsed) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      code = fill_small_disk(folder.folder().string());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2)
    GTEST_SKIP() << "mounting a small tmpfs needs root or user namespaces";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// --- where the file lies

TEST(JournalModeTest, LocalFileSystemsUseWalAllOthersARollbackJournal) {
  struct Case {
    std::uint32_t magic;
    const char* name;
    JournalMode mode;
  };
  for (const Case& c : {Case{0xEF53, "ext4", JournalMode::kWal},
                        {0x58465342, "xfs", JournalMode::kWal},
                        {0x9123683E, "btrfs", JournalMode::kWal},
                        {0x01021994, "tmpfs", JournalMode::kWal},
                        {0x794C7630, "overlayfs", JournalMode::kWal},
                        {0x6969, "nfs", JournalMode::kExclusiveTruncate},
                        {0x0BD00BD0, "lustre", JournalMode::kExclusiveTruncate},
                        {0x47504653, "gpfs", JournalMode::kExclusiveTruncate},
                        {0xFF534D42, "cifs", JournalMode::kExclusiveTruncate},
                        {0xFE534D42, "smb2", JournalMode::kExclusiveTruncate},
                        {0x65735546, "fuse", JournalMode::kExclusiveTruncate},
                        {0x00C36400, "ceph", JournalMode::kExclusiveTruncate},
                        {0x19830326, "beegfs", JournalMode::kExclusiveTruncate},
                        {0x01021997, "9p", JournalMode::kExclusiveTruncate},
                        {0x12345678, "unknown", JournalMode::kExclusiveTruncate}}) {
    EXPECT_EQ(journal_mode_for(c.magic), c.mode) << c.name;
  }
}

TEST(JournalModeTest, NetworkModeKeepsOthersOutAndNamesTheOwner) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);  // leaves a file in WAL mode behind, as one copied from a local disk
  WriterSession session(path, false, JournalMode::kExclusiveTruncate);
  SQLite::Database& database = session.connection().database();
  EXPECT_EQ(database.execAndGet("PRAGMA journal_mode").getString(), "truncate");
  EXPECT_EQ(database.execAndGet("PRAGMA locking_mode").getString(), "exclusive");
  EXPECT_EQ(database.execAndGet("PRAGMA synchronous").getInt(), 2);
  try {
    Store::open_reader(path);
    ADD_FAILURE() << "a second process could read";
  } catch (const StoreLocked& error) {
    EXPECT_THAT(error.what(), HasSubstr("pid " + std::to_string(::getpid())));
  }
}

TEST(JournalModeTest, LocalDiskUsesWalAndWaitsForTheDisk) {
  const TemporaryFolder folder;
  WriterSession session(folder.path("results.sqlite"), false, JournalMode::kWal);
  SQLite::Database& database = session.connection().database();
  EXPECT_EQ(database.execAndGet("PRAGMA journal_mode").getString(), "wal");
  EXPECT_EQ(database.execAndGet("PRAGMA synchronous").getInt(), 2);
  EXPECT_EQ(database.execAndGet("PRAGMA foreign_keys").getInt(), 1);
}

// --- files that are none

template <typename Error>
std::string error_of_open(const std::string& path, bool write) {
  try {
    write ? Store::open_writer(path) : Store::open_reader(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(BadFileTest, EachIsAClearErrorWithThePath) {
  const TemporaryFolder folder;
  const std::string text = folder.path("notes.txt");
  std::ofstream(text) << "these are notes, and more than sixteen bytes of them\n";
  const std::string empty = folder.path("empty.sqlite");
  std::ofstream(empty).flush();
  const std::string foreign = folder.path("foreign.sqlite");
  {
    SQLite::Database(foreign, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
        .exec("CREATE TABLE bookmarks (url)");
  }
  for (const bool write : {true, false}) {
    EXPECT_THAT(error_of_open<StoreError>(folder.folder().string(), write),
                HasSubstr("it is a directory"));
    EXPECT_THAT(error_of_open<StoreIncompatible>(text, write),
                HasSubstr("notes.txt: cannot open the results database: "
                          "it is not an SQLite database"));
    EXPECT_THAT(error_of_open<StoreIncompatible>(foreign, write),
                HasSubstr("it is another program's SQLite database"));
    EXPECT_THAT(error_of_open<StoreError>("/dev/null", write), HasSubstr("not a regular file"));
    EXPECT_THAT(error_of_open<StoreError>("", write), HasSubstr("its name is empty"));
  }
  EXPECT_THAT(error_of_open<StoreError>(folder.path("nowhere.sqlite"), false),
              HasSubstr("there is no such file"));
  EXPECT_THAT(error_of_open<StoreError>(folder.path("no/such/results.sqlite"), true),
              HasSubstr("is not there"));
  EXPECT_THAT(error_of_open<StoreIncompatible>(empty, false), HasSubstr("the file is empty"));
  EXPECT_EQ(error_of_open<StoreError>(empty, true), "no error");  // as good as none
  EXPECT_EQ(plain_sql(foreign, "SELECT group_concat(name) FROM sqlite_master"), "bookmarks");
  EXPECT_EQ(plain_sql(foreign, "PRAGMA journal_mode"), "delete");
}

TEST(BadFileTest, DamagedFileIsAnErrorNotACrash) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  const JobRow job = sample_job("resnet18", "w4a4", "squant", 10'000, 10);
  {
    const auto store = Store::open_writer(path);
    const std::int64_t run = begin_sample_run(*store);
    store->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
    store->commit_tiles(sample_tiles(job, run, 5));
  }
  std::ifstream file(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(file)), {});
  std::mt19937 random(7);
  int num_errors = 0;
  for (int round = 0; round < 60; ++round) {
    std::string bad = good;
    if (round % 3 == 0) {
      bad.resize(random() % good.size());
    } else {
      const std::size_t at = 100 + random() % (good.size() - 5000);
      for (std::size_t i = at; i < at + 4000; ++i) bad[i] = static_cast<char>(random());
    }
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bad;
    try {
      const auto store = Store::open_reader(path);
      store->results();
      store->job_state(job);
      store->runs();
    } catch (const StoreError&) {
      ++num_errors;
    }
  }
  EXPECT_GT(num_errors, 20);
}

TEST(BadFileTest, ReadOnlyFileInAReadOnlyFolderCanBeRead) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  begin_sample_run(*Store::open_writer(path));
  std::filesystem::permissions(path, std::filesystem::perms(0444));
  std::filesystem::permissions(folder.folder(), std::filesystem::perms(0555));
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_root = ::geteuid() == 0;  // whom no permission stops: nobody is asked instead
    if (is_root && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(2);
    int code = 1;
    try {
      const bool is_readable = Store::open_reader(path)->runs().size() == 1;
      const std::string error = error_of_open<StoreError>(path, true);
      code = is_readable && error.find("the file is not writable") != std::string::npos ? 0 : 1;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  std::filesystem::permissions(folder.folder(), std::filesystem::perms::owner_all);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace squant::results
