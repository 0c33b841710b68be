// The columns of the view `results` and the members of ResultRow they go to: one list for reading
// and for printing. Internal to results/.
#pragma once

#include <span>

#include "results/connection.h"
#include "results/printer.h"
#include "results/rows.h"

namespace squant::results {

struct ResultColumn {
  const char* name;
  void (*read)(ResultRow& row, Query& query, int column);
  TextTable::Cell (*cell)(const ResultRow& row);
  bool is_text;
  bool of_run;  // belongs to the run that judged: the view `verdicts` has it for every run
};
// In the order of the view.
std::span<const ResultColumn> result_columns();

}  // namespace squant::results
