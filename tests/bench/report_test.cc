// A report is the same facts in every format.
#include "bench/report.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace squant::bench {
namespace {

Report sample() {
  Report report;
  report.subcommand = "sample";
  report.context = {{"date", "2026-01-31"}, {"gpu", std::monostate()}, {"gpu_clock_mhz", 1980L}};
  report.columns = {{"network"}, {"in", 0}, {"images_per_s", 1}};
  report.rows = {{"it's \"one\"", 3L, 1234.5678},
                 {"two", 4L, std::numeric_limits<double>::quiet_NaN()}};
  report.summary = {{"total_us", 0.1}};
  return report;
}

TEST(BenchReportTest, JsonHasEverythingInFullPrecision) {
  const auto json = nlohmann::json::parse(to_text(sample(), Format::kJson));
  EXPECT_EQ(json["subcommand"], "sample");
  EXPECT_TRUE(json["context"]["gpu"].is_null());
  EXPECT_EQ(json["context"]["gpu_clock_mhz"], 1980);
  EXPECT_EQ(json["results"].size(), 2);
  EXPECT_EQ(json["results"][0]["network"], "it's \"one\"");
  EXPECT_EQ(json["results"][0]["images_per_s"], 1234.5678);
  EXPECT_TRUE(json["results"][1]["images_per_s"].is_null());
  EXPECT_EQ(json["summary"]["total_us"], 0.1);
}

TEST(BenchReportTest, SqlCollectsTheRowsOfManyRuns) {
  SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  for (int run = 0; run < 2; ++run) database.exec(to_text(sample(), Format::kSql));
  SQLite::Statement rows(database,
                         "SELECT network, \"in\", images_per_s, gpu IS NULL, gpu_clock_mhz, "
                         "total_us, count(*) FROM squant_bench_sample GROUP BY network");
  ASSERT_TRUE(rows.executeStep());
  EXPECT_EQ(rows.getColumn(0).getString(), "it's \"one\"");
  EXPECT_EQ(rows.getColumn(1).getInt(), 3);
  EXPECT_EQ(rows.getColumn(2).getDouble(), 1234.5678);
  EXPECT_EQ(rows.getColumn(3).getInt(), 1);
  EXPECT_EQ(rows.getColumn(4).getInt(), 1980);
  EXPECT_EQ(rows.getColumn(5).getDouble(), 0.1);
  EXPECT_EQ(rows.getColumn(6).getInt(), 2);
  ASSERT_TRUE(rows.executeStep());
  EXPECT_TRUE(rows.getColumn(2).isNull());
}

TEST(BenchReportTest, ATableRoundsAndLeavesOutWhatIsNotKnown) {
  EXPECT_EQ(to_text(sample(), Format::kTable),
            "date: 2026-01-31\n"
            "gpu_clock_mhz: 1980\n"
            "\n"
            "network     in  images_per_s\n"
            "----------  --  ------------\n"
            "it's \"one\"   3       1,234.6\n"
            "two          4             -\n"
            "\n"
            "total_us: 0.1\n");
}

}  // namespace
}  // namespace squant::bench
