// A cluster that is not there, in front of the real scheduler: how close to the ideal its schedule
// comes. Simulated are the workers (speeds, decoding, a node's packed pictures, deaths), the way of
// the messages, and the coordinator, which does one thing at a time. A number that decides nothing
// else comes from the wall clock: the time that the scheduler itself takes. All other numbers are
// the same for the same seed.
#pragma once

#include <cstdint>
#include <vector>

#include "runner/scheduler.h"

namespace squant::runner {

// What a job costs on a worker of speed 1.
struct SimulatedJob {
  int stream = 0;
  int model = 0;
  double checkpoint_s = 0;  // to read the model's checkpoint, once for each worker
  double prepare_s = 0;     // to quantize and calibrate
  double setup_s = 0;       // to build the engine, once for each worker
  double image_s = 0;       // to evaluate an image
};

struct SimulatedWork {
  std::vector<SimulatedJob> jobs;
  int num_streams = 1;
  std::int64_t num_images = 0;
  std::int64_t chunk = 0;
};

// The paper's five networks, float and at the weights and activations of `bits` widths (w8a8, w6a6,
// w4a4, w4, w3) in the four modes, over ImageNet's 50,000 validation images: 105 jobs, two input
// sizes. The costs are those of one worker of the kind; what they rest on: docs/cluster.md.
enum class WorkerKind : std::uint8_t { kFourCores, kGpu };
SimulatedWork full_matrix(WorkerKind kind);

struct SimulatedCluster {
  int num_workers = 1;
  int workers_per_node = 8;  // they share decoded pictures
  double slow_share = 0;     // of the workers: speed 1 / slow_factor
  double slow_factor = 1;
  double jitter = 0.05;         // of every duration: uniform, this share to both sides
  double deaths_per_hour = 0;   // of a worker; unseen, for good
  double decode_s = 0;          // an image
  double cached_s = 0;          // an image that the node has decoded already
  double latency_s = 0.0002;    // of a message
  double poll_s = 0.010;        // a worker looks for messages at least so often
  double message_s = 0.000060;  // of the coordinator's time, for a message
  double cell_s = 0.000020;     // ... for a result in it
  double commit_s = 0.004;      // ... for a durable batch: all that has arrived
  unsigned seed = 1;
};

struct ScheduleOutcome {
  bool complete = false;
  double makespan_s = 0;
  // Of a perfect schedule: every preparation, cell and decoding once, no messages, no waiting, on
  // the workers that were alive; at least as long as the longest chain of one job.
  double ideal_s = 0;
  std::int64_t num_cells = 0;
  std::int64_t num_tiles = 0;     // handed out
  std::int64_t num_repeated = 0;  // cells computed more than once
  std::int64_t num_deaths = 0;
  std::int64_t num_messages = 0;  // both ways, heartbeats included
  std::int64_t num_commits = 0;
  double loads_per_chunk = 0;      // decoded on a node, over all chunks
  double coordinator_busy_s = 0;   // simulated: messages, results, commits
  double scheduler_us_a_tile = 0;  // measured: the scheduler's own time
};

ScheduleOutcome simulate_schedule(const SimulatedWork& work, const SimulatedCluster& cluster,
                                  const SchedulerOptions& options);

}  // namespace squant::runner
