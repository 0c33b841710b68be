// Reading the view `results` into rows. Internal to results/.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "results/connection.h"
#include "results/rows.h"

namespace squant::results {

// A column of the view that must (or must not) have one of these values.
struct Condition {
  std::string column;
  bool is_negated = false;
  std::vector<std::string> values;
};
// "model=resnet18,resnet50", "mode!=squant". Throws std::invalid_argument: no such form, or no such
// column, with the column that was perhaps meant.
Condition parse_condition(const std::string& text);

struct ResultFilter {
  std::vector<Condition> where;
  std::string identity_prefix;         // hex digits; empty: any
  std::optional<std::int64_t> run_id;  // the jobs of this run, with its references and verdicts
};
// In the order the jobs were added.
std::vector<ResultRow> read_results(Connection& connection, const ResultFilter& filter);
// The rows of these identities in their order, unknown ones left out; empty: all rows in the order
// they were added.
std::vector<ResultRow> read_results(Connection& connection,
                                    std::span<const std::string> identities);

}  // namespace squant::results
