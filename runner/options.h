// The command line of squant-sweep.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace squant::runner {

struct Options {
  std::string experiment;
  std::string db = "results.sqlite";
  std::vector<std::string> set;  // KEY=VALUE over the file
  std::vector<std::string> only, where, exclude_where;
  std::int64_t images = 0;  // 0: as the file says
  bool dry_run = false;
  std::string device = "auto";
  int threads = 0;  // of each worker; 0: its share of the host's processors
  int batch = 0;    // 0: chosen by the program
  bool force = false;
  bool keep_predictions = false;
  bool retry_failed = false;
  bool only_failed = false;
  int max_failures = 0;  // 0: no limit
  bool takeover = false;
  bool quiet = false;
  bool verbose = false;
  std::string log_file;
  std::string progress = "auto";
  double time_budget_s = 0;  // 0: none
  double worker_timeout_s = 60;
  double hang_timeout_s = 600;
  double start_timeout_s = 300;
  bool repeat_slow_tiles = true;
  std::string broadcast = "auto";
  bool broadcast_images = false;
};

struct ParsedOptions {
  std::optional<Options> options;  // none: the program ends with `exit_code` after printing
  int exit_code = 0;
  std::string out, err;  // for standard output and standard error
};

// arguments[0] is the program. Never throws and prints nothing.
ParsedOptions parse_options(const std::vector<std::string>& arguments);

// Why no GPU of this machine can evaluate; empty: one can.
std::string obstacle_to_gpu();
// "cpu" or "cuda"; "auto" is a GPU where there is one that can be used. Throws
// std::invalid_argument for "cuda" where there is none, with the reason.
std::string resolve_device(const std::string& device);

// Why the workers cannot use NCCL, as far as the command line and this machine tell; empty: they
// can. Its library is loaded where GPUs are asked for, and only there.
std::string obstacle_to_nccl(const Options& options);
// Throws std::invalid_argument where --broadcast or --broadcast-images asks for what cannot be.
void check_broadcast(const Options& options);

}  // namespace squant::runner
