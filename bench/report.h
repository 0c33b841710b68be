// What a subcommand found, as a table for people, as JSON, and as SQL that adds to a database.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace squant::bench {

// Nothing, a count, a measurement, or a text.
using Value = std::variant<std::monostate, std::int64_t, double, std::string>;

// By name. A name has its unit in it: "gpu_clock_mhz".
using Facts = std::vector<std::pair<std::string, Value>>;

struct Column {
  std::string name;
  int decimals = 0;  // of a measurement in the table; JSON and SQL have all
};

struct Report {
  std::string subcommand;
  Facts context;  // what was measured on: device, clocks, versions, command (bench/context.h)
  std::vector<Column> columns;
  std::vector<std::vector<Value>> rows;  // a value a column
  Facts summary;                         // of all rows; may be empty
};

enum class Format : std::uint8_t { kTable, kJson, kSql };

// JSON: {"subcommand": ..., "context": {...}, "results": [{...}, ...], "summary": {...}}.
// SQL: the table squant_bench_SUBCOMMAND, where it is missing, and a row a result with the context
// and the summary in it: `sqlite3 FILE < REPORT` collects the reports of many runs.
std::string to_text(const Report& report, Format format);

}  // namespace squant::bench
