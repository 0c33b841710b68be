// squant-sweep: every rank of mpirun runs this program; rank 0 coordinates, the others work.
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runner/child.h"
#include "runner/gpu_probe.h"
#include "runner/logging.h"
#include "runner/options.h"
#include "runner/process.h"
#include "runner/provenance.h"
#include "runner/sweep.h"
#include "runner/transport.h"

namespace {

using namespace squant::runner;

constexpr std::chrono::seconds kTimeForRank0{10};

// Wrong use is found by every rank alike and before MPI is up: rank 0 speaks for all. The others
// end without an error, or mpirun would kill rank 0 before it has spoken.
int end_early(int rank, int exit_code, const std::string& out, const std::string& err) {
  if (rank != 0) return 0;
  std::fputs(out.c_str(), stdout);
  std::fputs(err.c_str(), stderr);
  return exit_code;
}

// What this machine lacks, and perhaps this one alone: where rank 0 lacks it too, it says so, and
// mpirun ends the others before they speak.
int end_for_machine(int rank, const std::string& why) {
  if (rank != 0) {
    std::this_thread::sleep_for(kTimeForRank0);
    std::fprintf(stderr, "squant-sweep: rank %d on %s: %s\n", rank, host_name().c_str(),
                 why.c_str());
    return kExitWrongUse;
  }
  return end_early(rank, kExitWrongUse, "", "squant-sweep: " + why + "\n");
}

int run(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  if (is_gpu_probe(arguments)) return run_gpu_probe();
  if (const std::optional<ChildSettings> child = parse_child_arguments(arguments))
    run_child(*child);
  const Launch launch = detect_launch();
  const ParsedOptions parsed = parse_options(arguments);
  if (!parsed.options) return end_early(launch.rank, parsed.exit_code, parsed.out, parsed.err);
  const Options& options = *parsed.options;
  try {
    resolve_device(options.device);
    check_broadcast(options);
    set_up_logging(options, launch.rank);
  } catch (const std::invalid_argument& error) {
    return end_for_machine(launch.rank, error.what());
  }
  if (!launch.by_mpi && launch.size > 1) {
    return end_early(
        launch.rank, kExitWrongUse, "",
        "squant-sweep: srun started " + std::to_string(launch.size) +
            " processes that do not know of each other: use srun --mpi=pmix, or mpirun\n");
  }
  catch_signals();
  Rank rank = join_ranks(options, &argc, &argv);
  return rank.rank == 0 ? run_coordinator_rank(rank, options, arguments)
                        : run_worker_rank(rank, options);
}

}  // namespace

int main(int argc, char** argv) {
  seconds_since_start();
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "squant-sweep: rank %d: %s\n", detect_launch().rank, error.what());
    leave(kExitWrongUse);
  }
}
