#include "results/schema.h"

#include <array>
#include <string>
#include <vector>

#include "results/store.h"
#include "squant_results_sql.h"  // the .sql files, written by CMake

namespace squant::results {
namespace {

constexpr std::array<const char*, kSchemaVersion> kMigrations = {kSchemaSql, kSchema2Sql,
                                                                 kSchema3Sql};
static_assert(kMigrations.back() != nullptr, "every schema version needs its step");

void drop_views(SQLite::Database& database) {
  std::vector<std::string> names;
  SQLite::Statement views(database, "SELECT name FROM sqlite_master WHERE type = 'view'");
  while (views.executeStep()) names.push_back(views.getColumn(0).getString());
  views.reset();
  for (const std::string& name : names) database.exec("DROP VIEW \"" + name + "\"");
}

}  // namespace

std::span<const char* const> migrations() { return kMigrations; }

const char* views_sql() { return kViewsSql; }

void migrate(SQLite::Database& database, std::span<const char* const> steps) {
  const auto version =
      static_cast<std::size_t>(database.execAndGet("PRAGMA user_version").getInt64());
  if (version == steps.size()) return;
  drop_views(database);
  for (std::size_t step = version; step < steps.size(); ++step) database.exec(steps[step]);
  database.exec(views_sql());
  database.exec("PRAGMA application_id = " + std::to_string(kApplicationId));
  database.exec("PRAGMA user_version = " + std::to_string(steps.size()));
}

}  // namespace squant::results
