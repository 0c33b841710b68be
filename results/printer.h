// Results as text: the table on a terminal, and what other programs read.
#pragma once

#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "results/rows.h"

namespace squant::results {

enum class Format : std::uint8_t { kTable, kCsv, kJson, kMarkdown, kLatex };
// "table", "csv", "json", "markdown", "latex". Throws std::invalid_argument naming the choices.
Format parse_format(const std::string& name);

// What a table looks like where a terminal shows it. Other formats ignore it.
struct TerminalStyle {
  bool color = false;
  // Colour where `descriptor` is a terminal, NO_COLOR is not set and TERM is not "dumb".
  static TerminalStyle detect(int descriptor);
};

// Table, Markdown and LaTeX: model, bits, mode, top-1, its 95% interval, reference, verdict, time to quantize, images a
// second, with a line of counts below. CSV and JSON: every column of the view `results`, numbers in full precision.
void print_results(std::ostream& out, std::span<const ResultRow> rows, Format format, TerminalStyle style = {});

// Any table, as a query gives it.
struct TextTable {
  enum class Type : std::uint8_t { kNull, kInteger, kReal, kText };
  struct Cell {
    Type type = Type::kNull;
    std::string text;  // empty for kNull
  };
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};
void print_table(std::ostream& out, const TextTable& table, Format format, TerminalStyle style = {});

}  // namespace squant::results
