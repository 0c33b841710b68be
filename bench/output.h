// --format and --output: the same for every subcommand that makes a report.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bench/report.h"

namespace squant::bench {

struct OutputOptions {
  std::string format = "table";
  std::string file;  // empty: standard output
};
void add_output_options(CLI::App& app, OutputOptions& options);

// Throws std::invalid_argument where the file cannot be written; it is then as it was.
void write_report(const Report& report, const OutputOptions& options);

// A line on standard error about a row that was measured: the report comes when all are there.
void tell_progress(const std::string& line);

}  // namespace squant::bench
