#include "results/result_query.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "results/result_columns.h"
#include "results/suggestion.h"

namespace squant::results {
namespace {

// "SELECT ... FROM results r", for a run with what the run judged.
std::string select_results(bool of_run) {
  std::string sql = "SELECT ";
  const char* separator = "";
  for (const ResultColumn& column : result_columns()) {
    sql += separator + std::string(of_run && column.of_run ? "v." : "r.") + column.name;
    separator = ", ";
  }
  return sql +
         (of_run ? " FROM verdicts v JOIN results r ON r.identity = v.identity WHERE v.run_id = ?"
                 : " FROM results r WHERE true");
}

std::vector<ResultRow> read_rows(Query& query, std::vector<ResultRow> rows = {}) {
  while (query.step()) {
    ResultRow& row = rows.emplace_back();
    int index = 0;
    for (const ResultColumn& column : result_columns()) column.read(row, query, index++);
    if (row.num_images == 0) row.ci_high_pct = 100;
  }
  return rows;
}

// Numbers compare as numbers (12 is 12.0), but not with columns of text: a model may be called
// "50".
void bind_value(SQLite::Statement& statement, int index, bool is_text, const std::string& value) {
  double number = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
  if (!is_text && parsed.ec == std::errc() && parsed.ptr == value.data() + value.size()) {
    statement.bind(index, number);
  } else {
    statement.bind(index, value);
  }
}

const ResultColumn& find_column(const std::string& name) {
  return *std::find_if(result_columns().begin(), result_columns().end(),
                       [&](const ResultColumn& column) { return column.name == name; });
}

// "r.model IN (?, ?)"; a NULL is none of the values.
std::string sql_of(const Condition& condition, bool of_run) {
  std::string list;
  for (std::size_t i = 0; i < condition.values.size(); ++i) list += i == 0 ? "?" : ", ?";
  const std::string column = std::string(of_run ? "v." : "r.") + condition.column;
  return condition.is_negated ? "coalesce(" + column + " NOT IN (" + list + "), true)"
                              : column + " IN (" + list + ')';
}

// "model=resnet18,bits=w4": a comma separates values, not conditions.
void refuse_second_condition(const std::string& value, const std::vector<const char*>& columns) {
  const std::string name = value.substr(0, value.find_first_of("!="));
  if (name.size() == value.size()) return;
  if (std::find(columns.begin(), columns.end(), name) == columns.end()) return;
  throw std::invalid_argument("'" + value + "' is a condition of its own: write --where " + value +
                              " beside the other one");
}

}  // namespace

Condition parse_condition(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw std::invalid_argument("'" + text +
                                "' is no condition; write COLUMN=VALUE,VALUE or COLUMN!=VALUE");
  }
  Condition condition;
  condition.is_negated = text[equals - 1] == '!';
  condition.column = text.substr(0, equals - (condition.is_negated ? 1 : 0));
  std::vector<const char*> known;
  for (const ResultColumn& column : result_columns()) known.push_back(column.name);
  if (std::find(known.begin(), known.end(), condition.column) == known.end()) {
    throw std::invalid_argument("'" + text + "': the view results has no column '" +
                                condition.column + "'" + suggestion(condition.column, known));
  }
  for (std::size_t from = equals + 1; from <= text.size();) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    condition.values.push_back(text.substr(from, comma - from));
    refuse_second_condition(condition.values.back(), known);
    from = comma + 1;
  }
  return condition;
}

std::vector<ResultRow> read_results(Connection& connection, const ResultFilter& filter) {
  std::string sql = select_results(filter.run_id.has_value());
  for (const Condition& condition : filter.where) {
    sql += " AND " + sql_of(condition, filter.run_id && find_column(condition.column).of_run);
  }
  if (!filter.identity_prefix.empty()) sql += " AND r.identity BETWEEN ? AND ?";
  SQLite::Statement statement(connection.database(), sql + " ORDER BY r.job_id");
  int index = 0;
  if (filter.run_id) statement.bind(++index, *filter.run_id);
  for (const Condition& condition : filter.where) {
    const bool is_text = find_column(condition.column).is_text;
    for (const std::string& value : condition.values)
      bind_value(statement, ++index, is_text, value);
  }
  if (!filter.identity_prefix.empty()) {
    statement.bind(++index, filter.identity_prefix);
    statement.bind(++index, filter.identity_prefix + '~');  // after every digit and letter
  }
  Query query(statement);
  return read_rows(query);
}

std::vector<ResultRow> read_results(Connection& connection,
                                    std::span<const std::string> identities) {
  if (identities.empty()) return read_results(connection, ResultFilter{});
  SQLite::Statement statement(connection.database(), select_results(false) + " AND r.identity = ?");
  std::vector<ResultRow> rows;
  for (const std::string& identity : identities) {
    Query query(statement);
    rows = read_rows(query.bind(identity), std::move(rows));
  }
  return rows;
}

}  // namespace squant::results
