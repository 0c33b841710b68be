// What the table of results, the JUnit file and the report say about rows. Internal to results/.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/printer.h"
#include "results/rows.h"

namespace squant::results {

// Every verdict, the good one first.
std::span<const char* const> verdict_order();
TextTable::Tone tone_of(const std::string& verdict);
// A failure for exit codes and JUnit: "fail", "failed", "weights differ".
bool is_bad(const ResultRow& row);
// "+0.12", "-0.30", of the reference; only where there are both.
std::string difference_text(const ResultRow& row);
// "91.91 to 92.94"
std::string interval_text(const ResultRow& row);

// Per row, what tells it from the others of its model, bits and mode ("10,000 images, rounding
// paper"); empty where it is the only one.
std::vector<std::string> distinctions(std::span<const ResultRow> rows);
// "24 jobs: 20 pass, 3 fail, 1 no reference; 10,000 images each"
std::string count_line(std::span<const ResultRow> rows);

// What went wrong. Rows of which the same is to be said share a remark.
struct Remark {
  std::string model, cell;  // "resnet18", "w4a4 squant and 2 more"
  std::string verdict, text;
};
std::vector<Remark> remarks(std::span<const ResultRow> rows);

// The columns that people look at, numbers shortened.
TextTable summary_table(std::span<const ResultRow> rows);

// A JUnit file: a test case a row.
void print_junit(std::ostream& out, std::span<const ResultRow> rows);
// LaTeX in the layout of the paper's tables: a row is a bit width and a mode, a column a model.
void print_paper_table(std::ostream& out, std::span<const ResultRow> rows);

}  // namespace squant::results
