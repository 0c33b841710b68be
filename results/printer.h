// Results as text: the table on a terminal, and what other programs read.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "results/rows.h"

namespace squant::results {

enum class Format : std::uint8_t { kTable, kCsv, kJson, kMarkdown, kLatex, kJunit };
// "table", "csv", "json", "markdown", "latex", "junit". Throws std::invalid_argument naming the
// choices.
Format parse_format(const std::string& name);

// What a table looks like where a terminal shows it. Other formats ignore it.
struct TerminalStyle {
  bool color = false;
  // Colour where `descriptor` is a terminal, NO_COLOR is not set and TERM is not "dumb".
  static TerminalStyle detect(int descriptor);
};

// Any table, as a query gives it.
struct TextTable {
  enum class Type : std::uint8_t { kNull, kInteger, kReal, kText };
  enum class Tone : std::uint8_t {
    kPlain,
    kGood,
    kBad,
    kDoubtful,
    kFaint
  };  // colour, where there is any
  struct Cell {
    Type type = Type::kNull;
    std::string
        text;  // numbers as JSON writes them, unless the table is only looked at; empty for kNull
    Tone tone = Tone::kPlain;
  };
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;

  static Cell cell(const std::string& value, Tone tone = Tone::kPlain) {
    return {Type::kText, value, tone};
  }
  static Cell cell(std::int64_t value) { return {Type::kInteger, std::to_string(value)}; }
  static Cell cell(
      double value);  // shortest text that gives the same double; NaN and infinities are kNull
  template <typename T>
  static Cell cell(const std::optional<T>& value) {
    return value ? cell(*value) : Cell{};
  }
};
// CSV as in RFC 4180 with NULL as an empty field; JSON as a list of objects; Markdown as GitHub
// reads it; LaTeX as a booktabs tabular. Terminal control characters in a cell are shown, not sent.
// Not for kJunit.
void print_table(std::ostream& out, const TextTable& table, Format format,
                 TerminalStyle style = {});

// Table and Markdown: model, bits, mode, top-1, its 95% interval, reference (and how far the
// result is from it), verdict, time to quantize, images a second; below the table, how many of each
// verdict and what is wrong with which. Rows of one model, bits and mode get a column that tells
// them apart. LaTeX: the layout of the paper's tables, a line a bit width and mode, a column a
// model, reference values above the results. CSV and JSON: the columns of the view `results`,
// numbers in full precision. JUnit: a test case a row; `fail`, `failed` and `weights differ` are
// failures.
void print_results(std::ostream& out, std::span<const ResultRow> rows, Format format,
                   TerminalStyle style = {});

// The rows with the columns of the view `results`, in its order.
TextTable results_table(std::span<const ResultRow> rows);

// For LaTeX's text mode.
std::string latex_escape(const std::string& text);
// "1,234"; "12.3", "1,234.6".
std::string with_thousands(std::int64_t value);
std::string decimal(double value, int decimals);

}  // namespace squant::results
