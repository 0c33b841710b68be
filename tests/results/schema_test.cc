#include "results/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "results/connection.h"
#include "results/result_columns.h"
#include "results/store.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;
using ::testing::HasSubstr;

std::string one(SQLite::Database& database, const std::string& sql) {
  return database.execAndGet(sql).getString();
}

TEST(SchemaTest, FreshFileCarriesApplicationAndVersion) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);
  EXPECT_EQ(plain_sql(path, "PRAGMA application_id"), std::to_string(kApplicationId));
  EXPECT_EQ(plain_sql(path, "PRAGMA user_version"), std::to_string(kSchemaVersion));
  EXPECT_EQ(plain_sql(path,
                      "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = "
                      "'table' AND NOT strict"
                      " AND name NOT LIKE 'sqlite%'"),
            "0");
}

TEST(SchemaTest, OlderDatabaseIsBroughtUpStepByStepAndKeepsItsRows) {
  SQLite::Database database(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
  migrate(database);
  database.exec(
      "INSERT INTO run VALUES (7, 'uuid', 'name', '', '{}', '', '', 0, '', '', '', '', '', '', 1, "
      "'then', NULL,"
      " NULL)");
  database.exec("CREATE VIEW of_an_older_version AS SELECT 1");
  const std::vector<const char*> steps = {
      migrations()[0],
      migrations()[1],
      migrations()[2],
      "ALTER TABLE run ADD COLUMN queue TEXT NOT NULL DEFAULT 'none'",
      "UPDATE run SET queue = 'was ' || queue; CREATE TABLE step_five (id INTEGER PRIMARY KEY) "
      "STRICT",
  };
  migrate(database, steps);
  EXPECT_EQ(one(database, "PRAGMA user_version"), "5");
  EXPECT_EQ(one(database, "SELECT run_id || ' ' || experiment_name || ' ' || queue FROM run"),
            "7 name was none");
  EXPECT_EQ(one(database, "SELECT count(*) FROM results"), "0");  // views are made anew
  EXPECT_EQ(one(database, "SELECT count(*) FROM sqlite_master WHERE name = 'of_an_older_version'"),
            "0");
  migrate(database, steps);  // nothing more to do
  EXPECT_EQ(one(database, "SELECT queue FROM run"), "was none");
}

// A file of version 1, written by the program of that time (tests/data/results/README.md).
class VersionOneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(SQUANT_SOURCE_DIR "/tests/data/results/version1.sqlite", path_);
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path("results.sqlite");
};

TEST_F(VersionOneTest, WriterBringsItUpToDateAndKeepsEveryRow) {
  const std::string sums =
      "SELECT group_concat(num_images || ' ' || num_top1 || ' ' || coalesce(digest, '-'), '; ')"
      " FROM total";
  const std::string counts =
      "SELECT (SELECT count(*) FROM run) || ' ' || (SELECT count(*) FROM job) || ' ' ||"
      " (SELECT count(*) FROM tile) || ' ' || (SELECT count(*) FROM layer) || ' ' ||"
      " (SELECT count(*) FROM failure)";
  const std::string before = plain_sql(path_, sums) + plain_sql(path_, counts);
  ASSERT_THAT(before, HasSubstr("191f53ecb0ac2de4e69e9df22f30b059"));
  Store::open_writer(path_);
  EXPECT_EQ(plain_sql(path_, sums) + plain_sql(path_, counts), before);
  EXPECT_EQ(plain_sql(path_, "PRAGMA user_version"), "3");
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM tiles WHERE outcomes IS NOT NULL"), "0");
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM layers WHERE squared_error_e IS NOT NULL"), "0");
  EXPECT_EQ(plain_sql(path_, "SELECT count(*) FROM classes"), "0");
  EXPECT_EQ(plain_sql(path_, "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(plain_sql(path_, "PRAGMA foreign_key_check"), "");
}

TEST_F(VersionOneTest, ReaderReadsItAsItIsAndLeavesItAlone) {
  const auto store = Store::open_reader(path_);
  EXPECT_EQ(store->results().size(), 8U);
  EXPECT_EQ(store->results().at(1).digest, "191f53ecb0ac2de4e69e9df22f30b059");
  EXPECT_EQ(store->runs().size(), 2U);
  EXPECT_EQ(plain_sql(path_, "PRAGMA user_version"), "1");
}

TEST_F(VersionOneTest, TilesThatComeAgainBringTheirOutcomes) {
  const auto store = Store::open_writer(path_);
  const ResultRow row = store->results().at(1);
  const std::int64_t run = begin_sample_run(*store);
  DatasetRow dataset = sample_dataset();
  dataset.fingerprint = row.job.dataset_fingerprint;
  store->add_dataset(dataset);
  store->add_jobs(run, std::vector<Store::PlannedJob>{{row.job, {}}});
  const auto connection = Connection::open_reader(path_);
  Query tiles(connection->statement(
      "SELECT first, count, num_top1, num_top5, digest FROM tiles WHERE evaluation = ?"));
  tiles.bind(row.job.evaluation);
  std::int64_t num_tiles = 0;
  while (tiles.step()) {
    TileRow tile = sample_tile(row.job, run, tiles.integer(0), tiles.integer(2));
    tile.num_top5 = tiles.integer(3);
    tile.digest = tiles.text(4);
    set_outcomes(tile);
    store->commit_tiles(std::vector{tile});
    ++num_tiles;
  }
  EXPECT_EQ(num_tiles, 2);
  EXPECT_EQ(plain_sql(path_, "SELECT sum(num_images) || ' ' || sum(num_top1) FROM classes"),
            "1000 934");
  EXPECT_EQ(store->results().at(1).num_top1, 934);
}

TEST(SchemaTest, NewerDatabaseIsRefusedAndLeftAlone) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);
  ASSERT_EQ(plain_sql(path, "PRAGMA user_version = 99"), "");
  for (const bool write : {true, false}) {
    try {
      write ? Store::open_writer(path) : Store::open_reader(path);
      ADD_FAILURE() << "a newer schema was accepted";
    } catch (const StoreIncompatible& error) {
      EXPECT_THAT(error.what(), HasSubstr("its schema version is 99, this program knows 3"));
    }
  }
  EXPECT_EQ(plain_sql(path, "PRAGMA user_version"), "99");
}

TEST(SchemaTest, RowsAreReadFromExactlyTheColumnsOfTheView) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);
  std::string names;
  for (const ResultColumn& column : result_columns())
    names += (names.empty() ? "" : ",") + std::string(column.name);
  EXPECT_EQ(plain_sql(path, "SELECT group_concat(name) FROM pragma_table_info('results')"), names);
}

TEST(SchemaTest, ColumnsOfARunAreThoseOfTheViewVerdicts) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);
  for (const ResultColumn& column : result_columns()) {
    if (!column.of_run) continue;
    EXPECT_EQ(plain_sql(path, "SELECT count(*) FROM pragma_table_info('verdicts') WHERE name = '" +
                                  std::string(column.name) + "'"),
              "1")
        << column.name;
  }
}

TEST(SchemaTest, DeletingARunThatResultsNameIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  const JobRow job = sample_job("resnet18", "w4a4", "squant");
  const auto store = Store::open_writer(path);
  const std::int64_t run = begin_sample_run(*store);
  store->add_jobs(run, std::vector<Store::PlannedJob>{{job, {}}});
  SQLite::Database database(path, SQLite::OPEN_READWRITE);
  database.exec("PRAGMA foreign_keys = ON");
  EXPECT_THROW(database.exec("DELETE FROM run"), SQLite::Exception);
}

}  // namespace
}  // namespace squant::results
