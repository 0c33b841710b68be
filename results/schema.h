// The schema of the results database, its version, and the steps that lead to it. Internal to
// results/.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>
#include <span>

namespace squant::results {

inline constexpr std::int64_t kApplicationId =
    0x53516e74;  // "SQnt", as `file` and PRAGMA application_id show it

// Step i brings a database from version i to i + 1: the first one makes the tables, later ones
// change them.
std::span<const char* const> migrations();
// The views, made anew after every migration.
const char* views_sql();

// Brings the database from its PRAGMA user_version to steps.size(). Inside the caller's
// transaction.
void migrate(SQLite::Database& database, std::span<const char* const> steps = migrations());

}  // namespace squant::results
