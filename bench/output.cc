#include "bench/output.h"

#include <cstdio>
#include <filesystem>
#include <map>

#include "results/whole_file.h"

namespace squant::bench {
namespace {

const std::map<std::string, Format>& formats() {
  static const std::map<std::string, Format> all = {
      {"table", Format::kTable}, {"json", Format::kJson}, {"sql", Format::kSql}};
  return all;
}

// Measuring takes minutes: a folder that is not there is known before.
std::string check_folder(const std::string& file) {
  const std::filesystem::path folder = std::filesystem::absolute(file).parent_path();
  return std::filesystem::is_directory(folder) ? "" : "there is no folder " + folder.string();
}

}  // namespace

void add_output_options(CLI::App& app, OutputOptions& options) {
  app.add_option("--format", options.format, "table, json, or sql to pipe into sqlite3")
      ->check(CLI::IsMember({"table", "json", "sql"}))
      ->capture_default_str();
  app.add_option("--output", options.file, "File for the report, instead of standard output")
      ->check(check_folder);
}

void write_report(const Report& report, const OutputOptions& options) {
  const std::string text = to_text(report, formats().at(options.format));
  if (options.file.empty()) {
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
  } else {
    results::write_whole_file(options.file, text);
  }
}

void tell_progress(const std::string& line) {
  std::fprintf(stderr, "squant-bench: %s\n", line.c_str());
}

}  // namespace squant::bench
