#include "results/writer_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "results/store.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

template <typename Error>
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Runs `body` in a child process; its exit code.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class WriterLockTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::string path_ = folder_.path("results.sqlite");

  // A database whose last writer is as given and did not close it.
  void leave_lock(const std::string& host, int pid, const std::string& process,
                  int heartbeat_age_s) {
    Store::open_writer(path_);
    ASSERT_EQ(plain_sql(path_, "UPDATE writer SET held = 1, host = '" + host +
                                   "', pid = " + std::to_string(pid) + ", process = '" + process +
                                   "', started_at = '2026-01-31T12:00:00.000Z'," +
                                   " heartbeat_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-" +
                                   std::to_string(heartbeat_age_s) + " seconds')"),
              "");
  }
};

TEST_F(WriterLockTest, SecondWriterIsToldWhoHasTheDatabase) {
  const auto first = Store::open_writer(path_);
  const ProcessIdentity self = this_process();
  EXPECT_THAT(error_of<StoreLocked>([&] { Store::open_writer(path_); }),
              AllOf(HasSubstr("is being written by another squant-sweep: host " + self.host +
                              ", pid " + std::to_string(self.pid) + ", since 20"),
                    HasSubstr("last heartbeat 20"), HasSubstr("--takeover")));
  EXPECT_THAT(error_of<StoreLocked>([&] { Store::open_writer(path_, true); }),
              HasSubstr("--takeover works once"));
}

TEST_F(WriterLockTest, ClosedDatabaseIsFree) {
  Store::open_writer(path_);
  EXPECT_NO_THROW(Store::open_writer(path_));
  EXPECT_EQ(plain_sql(path_, "SELECT held || ' ' || generation FROM writer"), "0 2");
}

TEST_F(WriterLockTest, LockOfAKilledProcessOfThisHostIsTakenOver) {
  ASSERT_EQ(in_child([&] {
              auto store = Store::open_writer(path_);
              ::kill(::getpid(), SIGKILL);
              return 0;
            }),
            -1);
  EXPECT_EQ(plain_sql(path_, "SELECT held FROM writer"), "1");
  EXPECT_NO_THROW(Store::open_writer(path_));
}

TEST_F(WriterLockTest, LaterProcessOfTheSamePidIsNotTheOwner) {
  ProcessIdentity self = this_process();
  self.process += "0";  // started at another time
  leave_lock(self.host, self.pid, self.process, 1);
  EXPECT_NO_THROW(Store::open_writer(path_));
}

TEST_F(WriterLockTest, WriterOfAnotherHostWithAFreshHeartbeatIsNeverReplaced) {
  leave_lock("node7", 4711, "other-boot pid:[1] 99", 5);
  EXPECT_THAT(error_of<StoreLocked>([&] { Store::open_writer(path_); }),
              HasSubstr("host node7, pid 4711, since 2026-01-31T12:00:00.000Z, last heartbeat "));
  EXPECT_THAT(error_of<StoreLocked>([&] { Store::open_writer(path_, true); }),
              HasSubstr("(5 s ago)"));
}

TEST_F(WriterLockTest, StaleWriterOfAnotherHostNeedsTakeover) {
  leave_lock("node7", 4711, "other-boot pid:[1] 99", 61);
  EXPECT_THROW(Store::open_writer(path_), StoreLocked);
  EXPECT_NO_THROW(Store::open_writer(path_, true));
}

TEST_F(WriterLockTest, AfterARebootTheLockIsFreeOnceTheHeartbeatIsOld) {
  const ProcessIdentity self = this_process();
  leave_lock(self.host, 1, "other-boot pid:[1] 99", 5);
  EXPECT_THROW(Store::open_writer(path_), StoreLocked);
  EXPECT_EQ(plain_sql(path_, "UPDATE writer SET heartbeat_at = '2026-01-31T12:00:00.000Z'"), "");
  EXPECT_NO_THROW(Store::open_writer(path_));
}

TEST_F(WriterLockTest, WriterThatWasReplacedCanWriteNothingMore) {
  auto old_writer = Store::open_writer(path_);
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const std::int64_t run = begin_sample_run(*old_writer);
  old_writer->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
  ASSERT_EQ(plain_sql(path_, "UPDATE writer SET heartbeat_at = '2026-01-31T12:00:00.000Z'"), "");
  auto new_writer = Store::open_writer(path_, true);
  EXPECT_THAT(error_of<StoreLocked>([&] { old_writer->commit_tiles(sample_tiles(job, run, 100)); }),
              HasSubstr("this process is no longer its writer, nothing was written"));
  EXPECT_THROW(old_writer->heartbeat(), StoreLocked);
  EXPECT_EQ(new_writer->results().at(0).num_images, 0);
  old_writer.reset();  // leaves the new writer's lock alone
  EXPECT_NO_THROW(new_writer->heartbeat());
}

TEST_F(WriterLockTest, OfManyThatOpenAtOnceExactlyOneGetsIt) {
  constexpr int kNumOpeners = 8;
  int go[2];
  int done[2];
  ASSERT_EQ(::pipe(go), 0);
  ASSERT_EQ(::pipe(done), 0);
  std::vector<pid_t> children;
  for (int i = 0; i < kNumOpeners; ++i) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::close(go[1]);
    char byte = 0;
    [[maybe_unused]] const auto woken =
        ::read(go[0], &byte, 1);  // returns when the parent closes its end
    std::unique_ptr<Store> store;
    char outcome = 'e';
    try {
      store = Store::open_writer(path_);
      outcome = 'o';
    } catch (const StoreLocked&) {
      outcome = 'l';
    } catch (...) {
    }
    [[maybe_unused]] const auto written = ::write(done[1], &outcome, 1);
    ::pause();  // keeps the lock until all have tried
  }
  ::close(go[0]);
  ::close(go[1]);
  std::string outcomes(kNumOpeners, ' ');
  for (char& outcome : outcomes) ASSERT_EQ(::read(done[0], &outcome, 1), 1);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  ::close(done[0]);
  ::close(done[1]);
  std::sort(outcomes.begin(), outcomes.end());
  EXPECT_EQ(outcomes, "lllllllo");
}

TEST_F(WriterLockTest, HeartbeatMovesTheRow) {
  const auto store = Store::open_writer(path_);
  ASSERT_EQ(plain_sql(path_, "UPDATE writer SET heartbeat_at = '2026-01-31T12:00:00.000Z'"), "");
  store->heartbeat();
  EXPECT_EQ(
      plain_sql(path_,
                "SELECT (julianday('now') - julianday(heartbeat_at)) * 86400 < 5 FROM writer"),
      "1");
}

TEST_F(WriterLockTest, ZombieDoesNotHoldTheLock) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = Store::open_writer(path_);
    [[maybe_unused]] const auto written = ::write(ready[1], "x", 1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT),
            0);  // dead, but not reaped
  EXPECT_NO_THROW(Store::open_writer(path_));
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace squant::results
