// The report: one HTML page that shows a results database to people.
#pragma once

#include <string>

#include "results/commands.h"
#include "results/connection.h"

namespace squant::results {

struct ReportOptions {
  Selection selection;
  std::string times_file;  // times of other methods (ReferenceTimes); empty: the paper's, built in
};

// The whole page. It is well-formed XML as well as HTML, has no script, and asks for nothing from
// anywhere: styles and drawings are inside. Its size does not grow with the number of tiles, and
// only up to a bound with the number of jobs: what is left out is said where it would be.
// Throws StoreError or std::invalid_argument.
std::string report_page(Connection& connection, const ReportOptions& options);

}  // namespace squant::results
