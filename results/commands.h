// The commands of squant-results. Each writes to `output.out` and returns the exit code; a
// StoreError or std::invalid_argument is for main() to show. Internal to results/.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "results/connection.h"
#include "results/printer.h"

namespace squant::results {

inline constexpr int kExitGood = 0;
inline constexpr int kExitBad =
    1;  // a verdict failed, something differs, something is wrong with the file
inline constexpr int kExitUsage = 2;
inline constexpr int kExitWorkLeft = 3;

struct Output {
  std::ostream& out;
  Format format = Format::kTable;
  TerminalStyle style;
};

// Which rows: `where` as in parse_condition(), `run` as in resolve_run() or empty.
struct Selection {
  std::vector<std::string> where;
  std::string run;
};

// "7" or "last". Throws std::invalid_argument where there is no such run.
std::int64_t resolve_run(Connection& connection, const std::string& run);
std::vector<ResultRow> select_results(Connection& connection, const Selection& selection);
// The rows of any statement without parameters, cells typed as SQLite gives them; BLOBs as x'hex'.
TextTable select_table(Connection& connection, const std::string& sql);

int show_results(Connection& connection, const Selection& selection, const Output& output);
int show_runs(Connection& connection, const Output& output);
// Of one run, or of all with `run` = "all". Exit code: work left, else something failed, else good.
int show_status(Connection& connection, const std::string& run, const Output& output);
// One statement that reads; anything else is refused.
int query_sql(Connection& connection, const std::string& sql, const Output& output);
// What differs between two result rows, and why. Selectors: the first digits of an identity, or
// "model bits mode".
int explain(Connection& a, const std::string& selector_a, Connection& b,
            const std::string& selector_b, const Output& output);
// Checks the file, its sums and references; lists missing tiles and the command that fills them.
int diagnose(Connection& connection, const Output& output);

}  // namespace squant::results
