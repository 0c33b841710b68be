#include <algorithm>
#include <ostream>

#include "results/markup.h"
#include "results/summary.h"

namespace squant::results {
namespace {

bool is_skipped(const ResultRow& row) { return row.verdict != "pass" && !is_bad(row); }

void print_case(std::ostream& out, const ResultRow& row, const std::string& detail) {
  const std::string name =
      row.job.bits + ' ' + row.job.mode + (detail.empty() ? "" : " (" + detail + ")");
  out << "<testcase classname=\"" << escape_markup(row.job.model) << "\" name=\""
      << escape_markup(name) << "\" time=\"" << TextTable::cell(row.compute_ms / 1000).text << '"';
  if (is_bad(row)) {
    out << "><failure type=\"" << escape_markup(row.verdict) << "\" message=\""
        << escape_markup(row.verdict_text) << "\"/></testcase>\n";
  } else if (is_skipped(row)) {
    out << "><skipped message=\"" << escape_markup(row.verdict + ": " + row.verdict_text)
        << "\"/></testcase>\n";
  } else {
    out << "/>\n";
  }
}

}  // namespace

void print_junit(std::ostream& out, std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  out << "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite "
         "name=\"squant-sweep\" tests=\""
      << rows.size() << "\" failures=\"" << std::count_if(rows.begin(), rows.end(), is_bad)
      << "\" errors=\"0\" skipped=\"" << std::count_if(rows.begin(), rows.end(), is_skipped)
      << "\">\n";
  for (std::size_t i = 0; i < rows.size(); ++i) print_case(out, rows[i], details[i]);
  out << "</testsuite>\n</testsuites>\n";
}

}  // namespace squant::results
