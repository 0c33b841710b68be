#include <algorithm>
#include <map>
#include <ostream>
#include <set>
#include <vector>

#include "results/cells.h"
#include "results/summary.h"

namespace squant::results {
namespace {

constexpr const char* kMark = "$^{\\dagger}$";

struct PaperTable {
  std::vector<std::string> columns;  // models, and what tells two results of one cell apart
  std::map<BitsOrder, std::map<ModeOrder, std::map<std::string, const ResultRow*>>> groups;
  bool has_marks = false;
};

PaperTable arrange(std::span<const ResultRow> rows) {
  const std::vector<std::string> details = distinctions(rows);
  PaperTable table;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ResultRow& row = rows[i];
    const std::string column = row.job.model + (details[i].empty() ? "" : " (" + details[i] + ")");
    if (seen.insert(column).second) table.columns.push_back(column);
    table.groups[bits_order(row.job)][mode_order(row.job.mode)][column] = &row;
    if (row.verdict == "fail" || row.verdict == "weights differ") table.has_marks = true;
  }
  return table;
}

std::string bits_text(int bits) { return bits == 0 ? "32" : std::to_string(bits); }

std::string value_text(const ResultRow* row) {
  if (row == nullptr || row->num_images == 0) return "--";
  const bool is_marked = row->verdict == "fail" || row->verdict == "weights differ";
  return decimal(row->top1_pct, 2) + (is_marked ? kMark : "");
}

const ResultRow* find(const std::map<std::string, const ResultRow*>& cells,
                      const std::string& column) {
  const auto found = cells.find(column);
  return found == cells.end() ? nullptr : found->second;
}

// The values that the results of a line are compared with, where there are any.
void print_references(std::ostream& out, const PaperTable& table, const std::string& front,
                      const std::string& method,
                      const std::map<std::string, const ResultRow*>& cells) {
  const bool has_any = std::any_of(cells.begin(), cells.end(), [](const auto& cell) {
    return cell.second->reference_top1_pct.has_value();
  });
  if (!has_any) return;
  out << front << method << " (reference)";
  for (const std::string& column : table.columns) {
    const ResultRow* const row = find(cells, column);
    out << " & "
        << (row != nullptr && row->reference_top1_pct ? decimal(*row->reference_top1_pct, 2)
                                                      : "--");
  }
  out << " \\\\\n";
}

void print_group(std::ostream& out, const PaperTable& table, const BitsOrder& bits,
                 const std::map<ModeOrder, std::map<std::string, const ResultRow*>>& modes) {
  out << "\\midrule\n";
  const std::string front =
      bits_text(bits.weight_bits) + " & " + bits_text(bits.activation_bits) + " & ";
  for (const auto& [mode, cells] : modes) {
    const std::string method = latex_escape(method_name(mode.mode));
    print_references(out, table, front, method, cells);
    out << front << method;
    for (const std::string& column : table.columns) out << " & " << value_text(find(cells, column));
    out << " \\\\\n";
  }
}

}  // namespace

void print_paper_table(std::ostream& out, std::span<const ResultRow> rows) {
  const PaperTable table = arrange(rows);
  const std::size_t num_columns = 3 + table.columns.size();
  out << "% needs \\usepackage{booktabs}; top-1 accuracy in percent\n\\begin{tabular}{rrl"
      << std::string(table.columns.size(), 'r') << "}\n\\toprule\nW-bit & A-bit & Method";
  for (const std::string& column : table.columns) out << " & " << latex_escape(column);
  out << " \\\\\n";
  for (const auto& [bits, modes] : table.groups) print_group(out, table, bits, modes);
  out << "\\bottomrule\n";
  if (table.has_marks) {
    out << "\\multicolumn{" << num_columns << "}{l}{\\footnotesize " << kMark
        << " outside the tolerance of its reference, or of other weights}\n";
  }
  out << "\\end{tabular}\n";
}

}  // namespace squant::results
