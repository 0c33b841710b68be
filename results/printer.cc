#include "results/printer.h"

#include <algorithm>

#include "results/result_columns.h"
#include "results/summary.h"

namespace squant::results {
namespace {

constexpr std::size_t kMaxRemarks = 20;

// Below the table: what went wrong.
void print_remarks(std::ostream& out, std::span<const ResultRow> rows) {
  const std::vector<Remark> all = remarks(rows);
  for (std::size_t i = 0; i < std::min(all.size(), kMaxRemarks); ++i) {
    const auto& [model, cell, verdict, text] = all[i];
    out << model << ' ' << cell << ": " << verdict << ": " << text << '\n';
  }
  if (all.size() > kMaxRemarks) {
    out << "... and " << all.size() - kMaxRemarks
        << " more; the column verdict_text of the view results says why\n";
  }
}

}  // namespace

void print_results(std::ostream& out, std::span<const ResultRow> rows, Format format,
                   TerminalStyle style) {
  switch (format) {
    case Format::kCsv:
    case Format::kJson:
      return print_table(out, results_table(rows), format, style);
    case Format::kJunit:
      return print_junit(out, rows);
    case Format::kLatex:
      return print_paper_table(out, rows);
    case Format::kMarkdown:
      return print_table(out, summary_table(rows), format, style);
    case Format::kTable:
      print_table(out, summary_table(rows), format, style);
      out << '\n' << count_line(rows) << '\n';
      print_remarks(out, rows);
  }
}

TextTable results_table(std::span<const ResultRow> rows) {
  TextTable table;
  for (const ResultColumn& column : result_columns()) table.columns.emplace_back(column.name);
  for (const ResultRow& row : rows) {
    auto& line = table.rows.emplace_back();
    for (const ResultColumn& column : result_columns()) line.push_back(column.cell(row));
  }
  return table;
}

}  // namespace squant::results
