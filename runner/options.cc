#include "runner/options.h"

#include <CLI/CLI.hpp>
#include <sstream>
#include <stdexcept>

#include "eval/cuda/cuda_device.h"
#include "runner/collective/choose.h"
#include "runner/collective/collective_nccl.h"
#include "runner/provenance.h"
#include "tools/cli/manual.h"

namespace squant::runner {
namespace {

constexpr const char* kFooter =
    "The same command goes on where the last one stopped. Signals: SIGINT, SIGTERM stop at once; "
    "SIGUSR1 waits for the\n"
    "tiles that are being computed. Exit codes: 0 every verdict passes, is inconclusive or has no "
    "reference; 1 a verdict\n"
    "or a job failed; 2 wrong use or bad input; 3 work is left undone; 4 the database could not be "
    "written.";

void add_options(CLI::App& app, Options& options) {
  const auto list = [&](const char* name, std::vector<std::string>& values, const char* type,
                        const char* help) {
    app.add_option(name, values, help)->type_name(type)->allow_extra_args(false);
  };
  app.add_option("EXPERIMENT", options.experiment, "The experiment file (docs/experiments.md)")
      ->required()
      ->type_name("");
  app.add_option("--db", options.db, "The results database; several experiments may share one")
      ->type_name("FILE")
      ->capture_default_str();

  list("--set", options.set, "KEY=VALUE",
       "Replaces a value of the file, for example settings.rounding=paper");
  list("--only", options.only, "KEY=VALUE",
       "Runs the cells where this holds, for example model=resnet18");
  list("--where", options.where, "EXPR",
       "Runs the cells where this holds, for example bits=w4a4,w3 or mode!=squant");
  list("--exclude-where", options.exclude_where, "EXPR", "Leaves out the cells where this holds");
  app.add_option("--images", options.images,
                 "Evaluates on N images of each data set, the same random sample everywhere")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_flag("--dry-run", options.dry_run,
               "Shows every cell and what would be done, and touches nothing");

  app.add_flag("--force", options.force, "Computes finished jobs again, from the start");
  app.add_flag(
      "--keep-predictions", options.keep_predictions,
      "Keeps the class that each image is taken for; finished tiles without it are computed "
      "again");
  app.add_flag("--retry-failed", options.retry_failed,
               "Tries jobs again that failed in an earlier run");
  app.add_flag("--only-failed", options.only_failed, "Runs these jobs alone");
  app.add_option("--max-failures", options.max_failures, "Stops when N jobs have failed")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  app.add_option("--time-budget", options.time_budget_s,
                 "Ends, with work left undone, before so many seconds are over")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber);
  app.add_flag("--takeover", options.takeover,
               "Takes a database over whose coordinator was not heard of for a minute");

  app.add_option("--device", options.device, "Where networks are evaluated")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->type_name("auto|cpu|cuda")
      ->capture_default_str();
  app.add_option("--threads", options.threads,
                 "Threads of each worker [its share of the host's processors]")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  app.add_option("--batch", options.batch,
                 "Images that a network sees at once; changes no exact result [chosen]")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--worker-timeout", options.worker_timeout_s,
                 "A worker that is silent for so long is lost")
      ->type_name("SECONDS")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  app.add_option("--hang-timeout", options.hang_timeout_s,
                 "A worker's process that gets no further for so long is replaced")
      ->type_name("SECONDS")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  app.add_option("--start-timeout", options.start_timeout_s,
                 "A rank that waits so long for the others to start ends")
      ->type_name("SECONDS")
      ->check(CLI::Range(1.0, 86400.0))
      ->capture_default_str();
  app.add_flag("--repeat-slow-tiles,!--no-repeat-slow-tiles", options.repeat_slow_tiles,
               "At the end idle workers repeat what slower ones still compute; the first answer "
               "counts [on]");

  app.add_option("--broadcast", options.broadcast,
                 "How files reach nodes that lack them (docs/broadcast.md); mpi, nccl: also nodes "
                 "that have them")
      ->check(CLI::IsMember({"auto", "nccl", "mpi", "off"}))
      ->type_name("auto|nccl|mpi|off")
      ->capture_default_str();

  app.add_flag("--broadcast-images", options.broadcast_images,
               "Decodes the images on the coordinator's node alone and sends them to the others "
               "as one file");

  CLI::Option* quiet =
      app.add_flag("--quiet", options.quiet, "Prints errors and the final table alone");
  app.add_flag("--verbose", options.verbose, "Prints what the program logs")->excludes(quiet);
  app.add_option("--log-file", options.log_file, "Logs to this file, workers to FILE.rankN")
      ->type_name("FILE");
  app.add_option("--progress", options.progress,
                 "How progress is shown; auto: live on a terminal, else plain")
      ->check(CLI::IsMember({"auto", "live", "plain", "none"}))
      ->type_name("auto|live|plain|none")
      ->capture_default_str();
  app.set_version_flag("--version", version_text());
}

}  // namespace

ParsedOptions parse_options(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app(
      "Quantizes and evaluates every cell of an experiment's matrix, on all ranks of mpirun.",
      "squant-sweep");
  app.footer(kFooter);
  add_options(app, options);
  const std::string version = program_version();
  cli::add_printers(app, "squant-sweep " + version.substr(0, version.find(' ')));
  ParsedOptions parsed;
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  if (!reversed.empty()) reversed.pop_back();
  try {
    app.parse(reversed);
    parsed.options = options;
  } catch (const CLI::ParseError& error) {
    std::ostringstream out;
    std::ostringstream err;
    const bool good = app.exit(error, out, err) == 0;
    parsed.exit_code = good ? 0 : 2;
    parsed.out = out.str();
    parsed.err = good ? err.str() : "squant-sweep: " + err.str();
  }
  return parsed;
}

std::string obstacle_to_gpu() {
  std::string why_not;
  return eval::cuda_usable(&why_not) ? "" : why_not;
}

std::string resolve_device(const std::string& device) {
  if (device == "cpu") return "cpu";
  const std::string why_not = obstacle_to_gpu();
  if (why_not.empty()) return "cuda";
  if (device == "auto") return "cpu";
  throw std::invalid_argument("--device " + device + ": " + why_not +
                              " (--device cpu evaluates on the CPU)");
}

std::string obstacle_to_nccl(const Options& options) {
  return resolve_device(options.device) == "cuda" ? why_no_nccl() : "no worker has a GPU";
}

void check_broadcast(const Options& options) {
  const Broadcast asked = broadcast_from(options.broadcast);
  const std::string device = resolve_device(options.device);
  const MemberFacts any{.rank = 1, .host = "", .device = device, .device_uuid = "any"};
  choose_collective({any}, asked, obstacle_to_nccl(options));
  if (options.broadcast_images && asked == Broadcast::kOff)
    throw std::invalid_argument("--broadcast-images: --broadcast off sends nothing");
}

}  // namespace squant::runner
