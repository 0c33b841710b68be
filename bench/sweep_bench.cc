// A whole table: squant-sweep itself, as a user starts it, on an experiment file and a new
// database, which is read afterwards. So everything is in it: start, decoding, quantizing,
// calibrating, evaluating, storing.
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/context.h"
#include "bench/output.h"
#include "bench/stopwatch.h"
#include "bench/temporary_folder.h"
#include "results/store.h"
#include "runner/provenance.h"

namespace squant::bench {
namespace {

struct Options {
  std::string experiment;
  std::int64_t images = 1000;
  std::string device = "cpu";
  int threads = 0;
  std::string launcher;
  std::string program;
  std::string folder;
  OutputOptions output;
};

std::string program_beside_this() {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "squant-sweep").string();
}

// What a shell runs. Its output goes to `log`.
std::string command_of(const Options& options, const std::string& database,
                       const std::string& log) {
  std::vector<std::string> sweep = {
      options.program, options.experiment, "--device", options.device, "--db", database};
  for (const auto& [flag, number] :
       {std::pair<const char*, std::int64_t>("--images", options.images),
        {"--threads", options.threads}}) {
    if (number > 0) sweep.insert(sweep.end(), {flag, std::to_string(number)});
  }
  return options.launcher + " " + runner::shell_line(sweep) + " >" + runner::shell_line({log}) +
         " 2>&1 </dev/null";
}

// Seconds that it took. Throws, after its output went to standard error, where it did not come to
// an end with results; a verdict that failed is one.
double run_sweep(const Options& options, const std::string& database, const std::string& log) {
  constexpr int kVerdictFailed = 1;
  const double begin = wall_seconds();
  const int status = std::system(command_of(options, database, log).c_str());
  const double elapsed_s = wall_seconds() - begin;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (code == 0 || code == kVerdictFailed) return elapsed_s;
  std::cerr << std::ifstream(log).rdbuf();
  throw std::runtime_error(options.program + " ended with exit code " + std::to_string(code));
}

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {{"model"},          {"bits"},
                                          {"mode"},           {"images"},
                                          {"quantize_ms", 2}, {"calibrate_ms", 1},
                                          {"compute_ms", 1},  {"images_per_s", 1},
                                          {"top1_pct", 2},    {"verdict"}};
  return all;
}

Value value_of(const std::optional<double>& number) {
  return number ? Value(*number) : Value(std::monostate());
}

std::vector<Value> row_of(const results::ResultRow& row) {
  return {row.job.model,
          row.job.bits,
          row.job.mode,
          row.num_images,
          value_of(row.quantize_ms),
          value_of(row.calibrate_ms),
          row.compute_ms,
          value_of(row.images_per_s),
          row.top1_pct,
          row.verdict};
}

void fill(Report& report, const Options& options, results::Store& store, double wall_s) {
  std::int64_t evaluations = 0;
  double prepare_ms = 0;
  double compute_ms = 0;
  for (const results::ResultRow& row : store.results()) {
    report.rows.push_back(row_of(row));
    evaluations += row.num_images;
    prepare_ms += row.quantize_ms.value_or(0) + row.calibrate_ms.value_or(0);
    compute_ms += row.compute_ms;
  }
  const auto jobs = static_cast<double>(report.rows.size());
  const results::RunRow run = store.runs().at(0);
  report.summary = {{"experiment", run.experiment_name},
                    {"device", options.device},
                    {"ranks", std::int64_t{run.world_size}},
                    {"jobs", std::ssize(report.rows)},
                    {"evaluations", evaluations},
                    {"wall_s", wall_s},
                    {"evaluations_per_s", static_cast<double>(evaluations) / wall_s},
                    {"prepare_s", prepare_ms / 1e3},
                    {"compute_s", compute_ms / 1e3},
                    {"mean_prepare_ms", prepare_ms / jobs},
                    {"mean_compute_ms", compute_ms / jobs}};
}

void measure(const Options& options) {
  const TemporaryFolder folder(options.folder);
  const std::string database = folder.file("sweep.sqlite");
  const double wall_s = run_sweep(options, database, folder.file("sweep.log"));
  const auto store = results::Store::open_reader(database);
  Report report{"sweep", context_of_this_process(options.threads), columns(), {}, {}};
  fill(report, options, *store, wall_s);
  write_report(report, options.output);
}

void add_options(CLI::App& app, Options& options) {
  options.program = program_beside_this();
  options.folder = std::filesystem::temp_directory_path().string();
  app.add_option("experiment", options.experiment, "Experiment file")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--images", options.images, "Images of each job; 0: as the file says")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--device", options.device, "Of the workers")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Of each worker; 0: its share of the processors")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--launcher", options.launcher,
                 "What starts squant-sweep on several ranks: 'mpirun -n 9'; none: one process");
  app.add_option("--program", options.program, "squant-sweep")
      ->check(CLI::ExistingFile)
      ->capture_default_str();
  app.add_option("--dir", options.folder, "Where the database lies meanwhile")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  add_output_options(app, options.output);
  app.footer(
      "evaluations: jobs times images. prepare_s: quantizing and calibrating; compute_s: running "
      "the networks; both added up over jobs and workers.");
}

int run(int argc, char** argv) {
  CLI::App app("A whole sweep by squant-sweep: evaluations per second, and where the time goes",
               "squant-bench sweep");
  Options options;
  add_options(app, options);
  return run_command(app, argc, argv, [&] {
    measure(options);
    return 0;
  });
}

const Subcommand kSweep("sweep", "a whole table by squant-sweep: evaluations per second", run);

}  // namespace
}  // namespace squant::bench
