// docs/database.md says what is there: every table, view and column, and queries that run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "results/connection.h"
#include "results/store.h"
#include "tests/results/sample.h"

namespace squant::results {
namespace {

using namespace squant::results::testing;

std::string read_documentation() {
  std::ifstream file(SQUANT_SOURCE_DIR "/docs/database.md");
  return {std::istreambuf_iterator<char>(file), {}};
}

// A small database in which every documented query finds something.
std::string make_database(const TemporaryFolder& folder) {
  const std::string path = folder.path("results.sqlite");
  const auto store = Store::open_writer(path);
  store->add_dataset(sample_dataset());
  std::vector<Store::PlannedJob> jobs;
  for (const char* bits : {"float", "w4a4", "w4"}) {
    for (const char* mode : {"squant-e", "squant"}) {
      if (bits == std::string("float") && mode == std::string("squant-e")) continue;
      jobs.push_back({sample_job("resnet18", bits, bits == std::string("float") ? "float" : mode),
                      ReferenceValue{66, 0.2, "table 1", 72.0}});
    }
  }
  JobRow newer = sample_job("resnet18", "w4a4", "squant");
  newer.identity = "job of newer numerics";
  newer.evaluation = "evaluation of newer numerics";
  newer.numerics_version = 2;
  jobs.push_back({newer, {}});
  for (const char* name : {"first", "second"}) {
    const std::int64_t run = begin_sample_run(*store);
    store->add_jobs(run, jobs);
    if (name == std::string("first")) continue;
    for (const auto& planned : jobs) {
      store->add_preparation(sample_preparation(planned.job, run));
      const bool has_all_stages = planned.job.mode == "squant";
      auto tiles = sample_tiles(planned.job, run,
                                planned.job.weight_bits == 0 ? 180
                                : has_all_stages             ? 178
                                                             : 150);
      for (TileRow& tile : tiles) set_predictions(tile);
      store->commit_tiles(tiles);
    }
    store->add_jobs(run, std::vector<Store::PlannedJob>{{sample_job("vgg", "w4a4", "squant"), {}}});
    store->add_failure({jobs[0].job.identity, run, 0, "out of memory", "the last lines", ""});
  }
  return path;
}

TEST(DocumentationTest, EveryQueryRunsAndFindsSomething) {
  const TemporaryFolder folder;
  const std::string path = make_database(folder);
  const std::string text = read_documentation();
  const auto connection = Connection::open_reader(path);
  const std::regex block("```sql\n([^`]*)```");
  int num_queries = 0;
  for (std::sregex_iterator match(text.begin(), text.end(), block); match != std::sregex_iterator();
       ++match) {
    const std::string sql = (*match)[1];
    ++num_queries;
    try {
      SQLite::Statement statement(connection->database(), sql);
      EXPECT_TRUE(statement.executeStep()) << "no rows:\n" << sql;
    } catch (const SQLite::Exception& error) {
      ADD_FAILURE() << error.what() << '\n' << sql;
    }
  }
  EXPECT_GE(num_queries, 20);
}

// The text of each "### `name`" under a "## " heading.
std::map<std::string, std::string> sections_under(const std::string& text,
                                                  const std::string& heading) {
  const std::size_t begin = text.find("\n## " + heading + "\n");
  const std::string part = text.substr(begin + 1, text.find("\n## ", begin + 1) - begin);
  std::map<std::string, std::string> sections;
  for (std::size_t at = part.find("### `"); at != std::string::npos;) {
    const std::size_t next = part.find("### `", at + 1);
    const std::size_t end = part.find('`', at + 5);
    sections[part.substr(at + 5, end - at - 5)] =
        part.substr(end, next == std::string::npos ? next : next - end);
    at = next;
  }
  return sections;
}

class DocumentedSchemaTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
};

TEST_P(DocumentedSchemaTest, EveryColumnIsDocumentedAndNoOther) {
  const auto [type, heading] = GetParam();
  const TemporaryFolder folder;
  const std::string path = folder.path("results.sqlite");
  Store::open_writer(path);
  const auto connection = Connection::open_reader(path);
  const auto sections = sections_under(read_documentation(), heading);
  SQLite::Statement names(
      connection->database(),
      std::string("SELECT name FROM sqlite_master WHERE type = '") + type + "' ORDER BY name");
  std::size_t num_names = 0;
  while (names.executeStep()) {
    const std::string name = names.getColumn(0);
    ++num_names;
    ASSERT_TRUE(sections.contains(name)) << type << ' ' << name << " has no section";
    SQLite::Statement columns(connection->database(),
                              "SELECT name FROM pragma_table_info('" + name + "')");
    while (columns.executeStep()) {
      const std::string column = columns.getColumn(0);
      EXPECT_NE(sections.at(name).find('`' + column + '`'), std::string::npos)
          << name << '.' << column;
    }
  }
  EXPECT_EQ(sections.size(), num_names);
}

INSTANTIATE_TEST_SUITE_P(Schema, DocumentedSchemaTest,
                         ::testing::Values(std::pair("view", "Views"),
                                           std::pair("table", "Tables")));

}  // namespace
}  // namespace squant::results
