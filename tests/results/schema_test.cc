#include "results/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

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
      "ALTER TABLE run ADD COLUMN queue TEXT NOT NULL DEFAULT 'none'",
      "UPDATE run SET queue = 'was ' || queue; CREATE TABLE step_three (id INTEGER PRIMARY KEY) "
      "STRICT",
  };
  migrate(database, steps);
  EXPECT_EQ(one(database, "PRAGMA user_version"), "3");
  EXPECT_EQ(one(database, "SELECT run_id || ' ' || experiment_name || ' ' || queue FROM run"),
            "7 name was none");
  EXPECT_EQ(one(database, "SELECT count(*) FROM results"), "0");  // views are made anew
  EXPECT_EQ(one(database, "SELECT count(*) FROM sqlite_master WHERE name = 'of_an_older_version'"),
            "0");
  migrate(database, steps);  // nothing more to do
  EXPECT_EQ(one(database, "SELECT queue FROM run"), "was none");
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
      EXPECT_THAT(error.what(), HasSubstr("its schema version is 99, this program knows 1"));
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
