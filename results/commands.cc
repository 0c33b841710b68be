#include "results/commands.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <stdexcept>

#include "results/result_query.h"
#include "results/writer_lock.h"

namespace squant::results {
namespace {

TextTable::Cell cell_of(const SQLite::Column& column) {
  switch (column.getType()) {
    case SQLITE_INTEGER:
      return TextTable::cell(column.getInt64());
    case SQLITE_FLOAT:
      return TextTable::cell(column.getDouble());
    case SQLITE_NULL:
      return {};
    case SQLITE_BLOB: {
      constexpr char kDigits[] = "0123456789abcdef";
      std::string hex = "x'";
      for (const char c : column.getString()) {
        hex += kDigits[static_cast<unsigned char>(c) >> 4U];
        hex += kDigits[static_cast<unsigned char>(c) & 15U];
      }
      return TextTable::cell(hex + '\'');
    }
    default:
      return TextTable::cell(column.getString());
  }
}

TextTable table_of(SQLite::Statement& statement) {
  TextTable table;
  for (int c = 0; c < statement.getColumnCount(); ++c)
    table.columns.emplace_back(statement.getColumnName(c));
  while (statement.executeStep()) {
    auto& row = table.rows.emplace_back();
    for (int c = 0; c < statement.getColumnCount(); ++c)
      row.push_back(cell_of(statement.getColumn(c)));
  }
  return table;
}

// What a reading statement may do. sqlite3_stmt_readonly() alone lets ATTACH and some pragmas pass.
int allow_reading(void* /*context*/, int action, const char* name, const char* argument,
                  const char* /*database*/, const char* /*trigger*/) {
  constexpr std::array kPragmas = {"table_info",       "table_xinfo",   "table_list",
                                   "index_list",       "index_info",    "index_xinfo",
                                   "foreign_key_list", "database_list", "function_list"};
  constexpr std::array kValues = {"user_version", "application_id", "page_count", "page_size",
                                  "journal_mode"};
  const auto is_in = [&](const auto& names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const char* known) { return std::strcmp(known, name) == 0; });
  };
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_PRAGMA:
      return is_in(kPragmas) || (argument == nullptr && is_in(kValues)) ? SQLITE_OK : SQLITE_DENY;
    default:
      return SQLITE_DENY;
  }
}

bool is_blank_sql(const char* text) {
  return std::string_view(text).find_first_not_of(" \t\r\n;") == std::string_view::npos;
}

struct RunStatus {
  std::int64_t run_id = 0;
  std::string experiment, started_at, finished_at;
  std::map<std::string, std::int64_t> counts;  // by verdict

  std::int64_t count(std::initializer_list<const char*> verdicts) const {
    std::int64_t sum = 0;
    for (const char* verdict : verdicts) {
      const auto found = counts.find(verdict);
      if (found != counts.end()) sum += found->second;
    }
    return sum;
  }
  std::int64_t num_jobs() const {
    std::int64_t sum = 0;
    for (const auto& [verdict, count] : counts) sum += count;
    return sum;
  }
};

std::vector<RunStatus> read_status(Connection& connection, const std::string& run) {
  const std::int64_t run_id = run == "all" ? 0 : resolve_run(connection, run);
  std::vector<RunStatus> statuses;
  Query rows(connection.statement(
      "SELECT r.run_id, r.experiment_name, r.started_at, coalesce(r.finished_at, ''),"
      " v.verdict, count(v.verdict) FROM run r LEFT JOIN verdicts v USING (run_id)"
      " WHERE ?1 = 0 OR r.run_id = ?1 GROUP BY r.run_id, v.verdict ORDER BY r.run_id"));
  rows.bind(run_id);
  while (rows.step()) {
    if (statuses.empty() || statuses.back().run_id != rows.integer(0)) {
      statuses.push_back({rows.integer(0), rows.text(1), rows.text(2), rows.text(3), {}});
    }
    if (!rows.is_null(4)) statuses.back().counts[rows.text(4)] = rows.integer(5);
  }
  return statuses;
}

}  // namespace

std::int64_t resolve_run(Connection& connection, const std::string& run) {
  std::int64_t run_id = 0;
  const auto parsed = std::from_chars(run.data(), run.data() + run.size(), run_id);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == run.data() + run.size();
  if (run != "last" && !is_number) {
    throw std::invalid_argument("'" + run + "' is no run; write its number or 'last'");
  }
  Query found(connection.statement("SELECT max(run_id) FROM run WHERE ?1 IS NULL OR run_id = ?1"));
  found.bind(is_number ? std::optional(run_id) : std::nullopt).step();
  if (!found.is_null(0)) return found.integer(0);
  throw std::invalid_argument(connection.path() + " has no " +
                              (is_number ? "run " + run : "run yet") +
                              "; `squant-results runs` lists them");
}

std::vector<ResultRow> select_results(Connection& connection, const Selection& selection) {
  ResultFilter filter;
  for (const std::string& text : selection.where) filter.where.push_back(parse_condition(text));
  return connection.guarded("read results", [&] {
    if (!selection.run.empty()) filter.run_id = resolve_run(connection, selection.run);
    return read_results(connection, filter);
  });
}

TextTable select_table(Connection& connection, const std::string& sql) {
  return connection.guarded("read", [&] {
    SQLite::Statement statement(connection.database(), sql);
    return table_of(statement);
  });
}

int show_results(Connection& connection, const Selection& selection, const Output& output) {
  print_results(output.out, select_results(connection, selection), output.format, output.style);
  return kExitGood;
}

int show_runs(Connection& connection, const Output& output) {
  const bool is_for_people = output.format != Format::kCsv && output.format != Format::kJson;
  const std::string sql = is_for_people
                              ? "SELECT run_id AS run, experiment_name AS experiment, "
                                "substr(started_at, 1, 19) AS started,"
                                " substr(finished_at, 1, 19) AS finished, exit_code AS exit, "
                                "num_complete || '/' || num_jobs"
                                " AS complete, world_size AS ranks, host, user, slurm_job AS slurm,"
                                " substr(git_commit, 1, 8) || iif(git_dirty, '+', '') AS "
                                "\"commit\" FROM runs ORDER BY run_id"
                              : "SELECT * FROM runs ORDER BY run_id";
  print_table(output.out, select_table(connection, sql), output.format, output.style);
  return kExitGood;
}

int show_status(Connection& connection, const std::string& run, const Output& output) {
  const auto [statuses, owner] = connection.guarded("read the status", [&] {
    return std::pair(read_status(connection, run), describe_owner(connection));
  });
  TextTable table;
  table.columns = {"run",  "experiment",   "started",      "state",  "jobs", "pass",
                   "fail", "inconclusive", "no reference", "failed", "left"};
  std::int64_t num_bad = 0;
  std::int64_t num_left = 0;
  for (const RunStatus& status : statuses) {
    const bool is_last = &status == &statuses.back();
    const std::string state = !status.finished_at.empty() ? "finished"
                              : is_last && !owner.empty() ? "running"
                                                          : "stopped";
    const std::int64_t num_fail = status.count({"fail", "weights differ"});
    const std::int64_t num_failed = status.count({"failed"});
    const std::int64_t num_unfinished = status.count({"unfinished"});
    num_bad += num_fail + num_failed;
    num_left += num_unfinished;
    table.rows.push_back({TextTable::cell(status.run_id), TextTable::cell(status.experiment),
                          TextTable::cell(status.started_at.substr(0, 19)), TextTable::cell(state),
                          TextTable::cell(status.num_jobs()),
                          TextTable::cell(status.count({"pass"})), TextTable::cell(num_fail),
                          TextTable::cell(status.count({"inconclusive"})),
                          TextTable::cell(status.count({"no reference"})),
                          TextTable::cell(num_failed), TextTable::cell(num_unfinished)});
  }
  print_table(output.out, table, output.format, output.style);
  if (output.format == Format::kTable && !owner.empty())
    output.out << "\nbeing written by " << owner << '\n';
  if (output.format == Format::kTable && !connection.note().empty())
    output.out << connection.note() << '\n';
  return num_left > 0 ? kExitWorkLeft : num_bad > 0 ? kExitBad : kExitGood;
}

int query_sql(Connection& connection, const std::string& sql, const Output& output) {
  sqlite3* const handle = connection.database().getHandle();
  sqlite3_set_authorizer(handle, allow_reading, nullptr);
  sqlite3_stmt* prepared = nullptr;
  const char* rest = nullptr;
  const int code =
      sqlite3_prepare_v2(handle, sql.c_str(), static_cast<int>(sql.size()), &prepared, &rest);
  const bool is_reading = prepared != nullptr && sqlite3_stmt_readonly(prepared) != 0;
  const bool has_columns = prepared != nullptr && sqlite3_column_count(prepared) > 0;
  const std::string problem = code == SQLITE_OK ? "" : sqlite3_errmsg(handle);
  sqlite3_finalize(prepared);
  if (code == SQLITE_AUTH)
    throw std::invalid_argument("query: only statements that read are allowed (" + problem + ")");
  if (code != SQLITE_OK) throw std::invalid_argument("query: " + problem);
  if (!is_reading || !has_columns)
    throw std::invalid_argument("query: not a statement that reads rows");
  if (!is_blank_sql(rest))
    throw std::invalid_argument("query: one statement only; left over: " + std::string(rest));
  const TextTable table = connection.guarded("query", [&] {
    SQLite::Statement statement(connection.database(), sql);
    return table_of(statement);
  });
  print_table(output.out, table, output.format, output.style);
  return kExitGood;
}

}  // namespace squant::results
