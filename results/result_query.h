// Reading the view `results` into rows. Internal to results/.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/connection.h"
#include "results/rows.h"

namespace squant::results {

// The rows of these identities in their order, unknown ones left out; empty: all rows in the order they were added.
std::vector<ResultRow> read_results(Connection& connection, std::span<const std::string> identities);

}  // namespace squant::results
