// The real scheduler in front of simulated workers: how close to the ideal, how busy the
// coordinator.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "bench/bench.h"
#include "runner/schedule_simulation.h"

namespace squant::bench {
namespace {

struct Options {
  std::vector<int> workers{10, 100, 1000, 10000};
  bool gpu = false;
  std::int64_t images = 50000;
  std::int64_t chunk = 250;
  double deaths_per_hour = 0.01;
  double slow_share = 0;
  double slow_factor = 4;
  unsigned seed = 1;
};

runner::SimulatedCluster cluster_of(int workers, const Options& options) {
  runner::SimulatedCluster cluster;
  cluster.num_workers = workers;
  // docs/datasets.md: 540 pictures a second and core; a GPU's worker has twelve cores.
  cluster.decode_s = 1 / (540.0 * (options.gpu ? 12 : 4));
  cluster.cached_s = 1 / 20000.0;
  cluster.deaths_per_hour = options.deaths_per_hour;
  cluster.slow_share = options.slow_share;
  cluster.slow_factor = options.slow_factor;
  cluster.seed = options.seed;
  return cluster;
}

void print_row(int workers, const runner::ScheduleOutcome& outcome) {
  const double seconds = outcome.makespan_s;
  std::printf(
      "%7d  %10.1f  %10.1f  %6.1f%%  %6lld  %8lld  %5.2f  %10.0f  %9.1f  %8.1f%%  %8.1f%s\n",
      workers, outcome.ideal_s, seconds, 100 * (seconds / outcome.ideal_s - 1),
      static_cast<long long>(outcome.num_deaths), static_cast<long long>(outcome.num_repeated),
      outcome.loads_per_chunk, static_cast<double>(outcome.num_messages) / seconds,
      static_cast<double>(outcome.num_commits) / seconds,
      100 * outcome.coordinator_busy_s / seconds, outcome.scheduler_us_a_tile,
      outcome.complete ? "" : "  NOT COMPLETE");
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("The scheduler with simulated workers", "squant-bench schedule");
  app.add_option("--workers", options.workers, "Numbers of workers")->delimiter(',');
  app.add_flag("--gpu", options.gpu, "Workers with a GPU each instead of four cores");
  app.add_option("--images", options.images, "Images")->check(CLI::PositiveNumber);
  app.add_option("--chunk", options.chunk, "Images of a tile")->check(CLI::PositiveNumber);
  app.add_option("--deaths", options.deaths_per_hour, "Deaths of a worker in an hour")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--slow-share", options.slow_share, "Share of slow workers")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--slow-factor", options.slow_factor, "Their time over the others'")
      ->check(CLI::Range(1.0, 1000.0));
  app.add_option("--seed", options.seed, "Of the random numbers");
  CLI11_PARSE(app, argc, argv);
  runner::SimulatedWork work =
      runner::full_matrix(options.gpu ? runner::WorkerKind::kGpu : runner::WorkerKind::kFourCores);
  work.num_images = options.images;
  work.chunk = options.chunk;
  std::printf("%zu jobs on %lld images in chunks of %lld\n", work.jobs.size(),
              static_cast<long long>(work.num_images), static_cast<long long>(work.chunk));
  std::printf(
      "workers     ideal s  makespan s   excess  deaths  repeated  loads  messages/s  "
      "commits/s  coord.busy  sched.us\n");
  for (const int workers : options.workers) {
    print_row(workers, runner::simulate_schedule(work, cluster_of(workers, options), {}));
  }
  return 0;
}

const Subcommand kSchedule("schedule", "the scheduler with up to 10,000 simulated workers", run);

}  // namespace
}  // namespace squant::bench
