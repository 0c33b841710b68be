// A big database stays quick to ask: every question goes by an index, and the report's size is
// bounded. Nothing is timed here; docs/report.md says what was measured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "results/report.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// 2,000 jobs of 80 models, 5 tiles each.
class LargeDatabaseTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    { Store::open_writer(path()); }
    const auto writer = Connection::open_writer(path());
    writer->exec(
        "CREATE TEMP TABLE size AS SELECT 2000 AS jobs, 5 AS tiles, 3 AS layers, 4 AS runs");
    std::ifstream file(SQUANT_SOURCE_DIR "/tests/results/large_database.sql");
    writer->exec(std::string{std::istreambuf_iterator<char>(file), {}});
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string path() { return folder_->path("large.sqlite"); }
  // How SQLite goes about it: "SEARCH e USING INDEX ...", a line a step.
  static std::string plan(const std::string& sql) {
    const auto reader = Connection::open_reader(path());
    SQLite::Statement statement(reader->database(), "EXPLAIN QUERY PLAN " + sql);
    std::string text;
    while (statement.executeStep()) text += statement.getColumn(3).getString() + '\n';
    return text;
  }
  static TemporaryFolder* folder_;
};
TemporaryFolder* LargeDatabaseTest::folder_ = nullptr;

TEST_F(LargeDatabaseTest, AFilteredViewReadsOnlyTheJobsThatFit) {
  for (const char* sql : {"SELECT * FROM results r WHERE r.model IN ('model7') ORDER BY r.job_id",
                          "SELECT * FROM results r WHERE r.identity = 'x'",
                          "SELECT * FROM layers WHERE evaluation = 'x' ORDER BY layer",
                          "SELECT * FROM tiles WHERE model = 'model7'"}) {
    EXPECT_THAT(plan(sql), Not(ContainsRegex("SCAN (j|e|t|k|y|l|f|p|run_job|failure)")))
        << sql << '\n'
        << plan(sql);
  }
}

TEST_F(LargeDatabaseTest, TheReportNamesWhatItLeavesOut) {
  const auto reader = Connection::open_reader(path());
  const std::string page = report_page(*reader, {});
  EXPECT_THAT(page, HasSubstr("2,000 jobs: 1,980 pass, 20 fail"));
  EXPECT_THAT(page, HasSubstr("1,000 of 2,000 jobs, failures first"));
  EXPECT_THAT(page, HasSubstr("12 of 80 are drawn"));
  EXPECT_THAT(page, HasSubstr("The latest 3 of 4 runs"));
  EXPECT_THAT(page, HasSubstr("ranks 1\xE2\x80\x93"
                              "2</text>"))
      << "64 workers on at most 48 lines";
  EXPECT_LT(page.size(), 2'500'000U);
}

TEST_F(LargeDatabaseTest, ThePageDoesNotGrowWithTheTiles) {
  const auto writer = Connection::open_writer(path());
  const std::size_t before = report_page(*writer, {}).size();
  writer->exec(
      "INSERT INTO tile (evaluation_id, first, count, num_top1, num_top5, num_broken, digest, "
      "run_id, rank,"
      " compute_ms, load_ms, finished_at) SELECT evaluation_id, first + 100000, count, num_top1, "
      "num_top5, num_broken, digest, run_id, rank,"
      " compute_ms, load_ms, finished_at FROM tile");
  const std::size_t after = report_page(*writer, {}).size();
  EXPECT_NEAR(static_cast<double>(after), static_cast<double>(before),
              0.05 * static_cast<double>(before));
}

}  // namespace
}  // namespace squant::results
