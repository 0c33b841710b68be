// What the coordinator's database takes: the real store behind the real write queue, the full
// matrix (105 jobs on 50,000 images in chunks of 250), a row for each job and chunk with the
// outcome of each image. Every batch is durable before the next one begins. Where the folder lies
// decides much: /dev/shm shows what the rows cost, a disk adds what its syncs cost.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "bench/bench.h"
#include "bench/command.h"
#include "bench/google.h"
#include "bench/stopwatch.h"
#include "bench/temporary_folder.h"
#include "results/store.h"
#include "runner/write_queue.h"

namespace squant::bench {
namespace {

using results::JobRow;
using results::Store;
using results::TileRow;

constexpr int kNumJobs = 105;
constexpr std::int64_t kNumImages = 50'000;
constexpr std::int64_t kChunk = 250;
constexpr std::int32_t kNumClasses = 1000;
constexpr const char* kFingerprint = "data set";

JobRow job_row(int index) {
  JobRow job;
  job.identity = "job " + std::to_string(index);
  job.evaluation = "evaluation " + std::to_string(index);
  job.config_json = "{}";
  job.model = "network " + std::to_string(index);
  job.bits = "w4a4";
  job.weight_bits = job.activation_bits = 4;
  job.mode = "squant";
  job.rounding = "current";
  job.engine = "integer";
  job.checkpoint_sha256 = "checkpoint of " + job.model;
  job.dataset_fingerprint = kFingerprint;
  job.dataset_size = job.num_images = kNumImages;
  job.chunk = kChunk;
  return job;
}

results::DatasetRow dataset_row() {
  results::DatasetRow dataset;
  dataset.fingerprint = kFingerprint;
  for (std::int64_t i = 0; i < kNumImages; ++i) {
    dataset.labels.push_back(static_cast<std::int32_t>(i * 7919 % kNumClasses));
  }
  return dataset;
}

// Two of three images right, one of six within five; in no order.
TileRow tile_row(int job, std::int64_t first, std::int64_t run_id) {
  TileRow tile;
  tile.evaluation = "evaluation " + std::to_string(job);
  tile.first = first;
  tile.count = kChunk;
  for (std::int64_t i = 0; i < kChunk; ++i) {
    tile.outcomes += "111150"[(first + i * 5 + job) * 2654435761 / 65536 % 6];
    tile.num_top1 += tile.outcomes.back() == '1';
    tile.num_top5 += tile.outcomes.back() != '0';
  }
  char digest[33];
  std::snprintf(digest, sizeof digest, "%016llx%016llx", static_cast<unsigned long long>(first),
                static_cast<unsigned long long>(job));
  tile.digest = digest;
  tile.run_id = run_id;
  tile.rank = 1;
  tile.compute_ms = 100;
  tile.finished_at = "2026-01-31T12:00:01.000Z";
  return tile;
}

// Chunk by chunk, as the grid is walked.
std::vector<TileRow> all_tiles(std::int64_t run_id) {
  std::vector<TileRow> tiles;
  for (std::int64_t first = 0; first < kNumImages; first += kChunk) {
    for (int job = 0; job < kNumJobs; ++job) tiles.push_back(tile_row(job, first, run_id));
  }
  return tiles;
}

std::int64_t plan_matrix(Store& store) {
  results::RunRow run;
  run.experiment_name = "bench";
  run.experiment_json = "{}";
  run.world_size = 2;
  const std::int64_t run_id = store.begin_run(run);
  results::WorkerRow worker;
  worker.run_id = run_id;
  worker.rank = 1;
  store.add_worker(worker);
  store.add_dataset(dataset_row());
  std::vector<Store::PlannedJob> jobs;
  for (int index = 0; index < kNumJobs; ++index) {
    jobs.push_back({job_row(index), results::ReferenceValue{66, 0.2, "", {}}});
  }
  store.add_jobs(run_id, jobs);
  return run_id;
}

struct Costs {
  double wall_s = 0, processor_s = 0;
  std::int64_t num_tiles = 0, num_commits = 0;
};

// The whole matrix into a new database, `batch` tiles a commit. The last chunk completes the jobs:
// sums by class, verdicts.
void store_matrix(const std::string& folder, std::size_t batch, Costs& costs) {
  const TemporaryFolder own(folder);
  const auto store = Store::open_writer(own.file("results.sqlite"));
  const std::vector<TileRow> tiles = all_tiles(plan_matrix(*store));
  runner::WriteQueue queue(*store);
  const auto start = std::chrono::steady_clock::now();
  const double processor_start = processor_seconds();
  for (std::size_t i = 0; i < tiles.size();) {
    for (const std::size_t end = std::min(tiles.size(), i + batch); i < end; ++i)
      queue.add(tiles[i]);
    if (queue.flush() != runner::WriteQueue::State::kStored)
      throw std::runtime_error(queue.problem());
    ++costs.num_commits;
  }
  costs.processor_s += processor_seconds() - processor_start;
  costs.wall_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  costs.num_tiles += std::ssize(tiles);
}

void measure(benchmark::State& state, const std::string& folder, std::size_t batch) {
  Costs costs;
  try {
    for ([[maybe_unused]] auto _ : state) {
      const double before = costs.wall_s;
      store_matrix(folder, batch, costs);
      state.SetIterationTime(costs.wall_s - before);
    }
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
    return;
  }
  const auto tiles = static_cast<double>(costs.num_tiles);
  const auto commits = static_cast<double>(costs.num_commits);
  state.counters["tiles/s"] = tiles / costs.wall_s;
  state.counters["tiles/cpu_s"] = tiles / costs.processor_s;
  state.counters["commits/s"] = commits / costs.wall_s;
  state.counters["ms/commit"] = 1e3 * costs.wall_s / commits;
}

int run(int argc, char** argv) {
  std::string folder = std::filesystem::temp_directory_path().string();
  CLI::App app("Tile results into the database, in durable batches", "squant-bench store");
  app.add_option("--dir", folder, "Where the databases lie while they are measured")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  app.allow_extras();
  app.footer("And Google Benchmark's flags: --benchmark_filter=REGEX ...");
  return run_command(app, argc, argv, [&] {
    for (const std::size_t batch : {10, 105, 1000}) {
      benchmark::RegisterBenchmark(
          ("store/batch:" + std::to_string(batch)).c_str(),
          [folder, batch](benchmark::State& state) { measure(state, folder, batch); })
          ->UseManualTime()
          ->Iterations(1)
          ->Unit(benchmark::kMillisecond);
    }
    return run_google_benchmarks(app.remaining());
  });
}

const Subcommand kStore("store", "tile results a second that the database takes", run);

}  // namespace
}  // namespace squant::bench
