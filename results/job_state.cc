#include "results/job_state.h"

#include <algorithm>
#include <optional>

namespace squant::results {
namespace {

struct StoredGrid {
  bool is_complete = false;
  std::int64_t chunk = 0;
};

StoredGrid read_grid(Connection& connection, const JobRow& job) {
  Query found(
      connection.statement("SELECT completed_at IS NOT NULL, chunk FROM job JOIN total USING "
                           "(job_id) WHERE identity = ?"));
  if (!found.bind(job.identity).step()) return {false, job.chunk};
  return {found.integer(0) != 0, found.integer(1)};
}

// Of the grid of `chunk` over `num_images`, from `sql`: its parameters are these three.
std::vector<TileRange> read_ranges(Connection& connection, const char* sql,
                                   std::int64_t evaluation_id, std::int64_t chunk,
                                   std::int64_t num_images) {
  Query rows(connection.statement(sql));
  rows.bind(evaluation_id, chunk, num_images);
  std::vector<TileRange> ranges;
  while (rows.step()) ranges.push_back({rows.integer(0), rows.integer(1)});
  return ranges;
}

std::vector<TileRange> finished_tiles(Connection& connection, std::int64_t evaluation_id,
                                      const JobRow& job) {
  return read_ranges(connection,
                     "SELECT first, count FROM tile WHERE evaluation_id = ?1 AND first % ?2 = 0"
                     " AND count = min(?2, ?3 - first) ORDER BY first",
                     evaluation_id, job.chunk, job.num_images);
}

std::vector<TileRange> predicted_tiles(Connection& connection, std::int64_t evaluation_id,
                                       std::int64_t chunk, std::int64_t num_images) {
  return read_ranges(connection,
                     "SELECT first, count FROM prediction WHERE evaluation_id = ?1 AND first % ?2 "
                     "= 0 AND count = min(?2, ?3 - first) ORDER BY first",
                     evaluation_id, chunk, num_images);
}

std::vector<TileRange> whole_grid(const JobRow& job) {
  std::vector<TileRange> ranges;
  for (std::int64_t first = 0; first < job.num_images; first += job.chunk) {
    ranges.push_back({first, std::min(job.chunk, job.num_images - first)});
  }
  return ranges;
}

void read_tiles(Connection& connection, std::int64_t evaluation_id, const JobRow& job,
                JobState& state) {
  const StoredGrid grid = read_grid(connection, job);
  state.finished =
      grid.is_complete ? whole_grid(job) : finished_tiles(connection, evaluation_id, job);
  const bool is_on_other_grid = grid.is_complete && grid.chunk != job.chunk;
  state.predicted = predicted_tiles(connection, evaluation_id,
                                    is_on_other_grid ? grid.chunk : job.chunk, job.num_images);
  if (!is_on_other_grid) return;
  std::int64_t num_predicted = 0;
  for (const TileRange& range : state.predicted) num_predicted += range.count;
  state.predictions_need_force = num_predicted < job.num_images;
  state.predicted = state.finished;
}

std::optional<PreparationRow> read_preparation(Connection& connection, std::int64_t evaluation_id,
                                               const JobRow& job) {
  Query found(connection.statement(
      "SELECT run_id, rank, ranges_json, quantize_ms, calibrate_ms, num_weights, finished_at,"
      " coalesce(quantize_device, '')"
      " FROM preparation WHERE evaluation_id = ?"));
  if (!found.bind(evaluation_id).step()) return std::nullopt;
  return PreparationRow{.evaluation = job.evaluation,
                        .run_id = found.integer(0),
                        .rank = static_cast<int>(found.integer(1)),
                        .ranges_json = found.text(2),
                        .quantize_ms = found.real(3),
                        .quantize_device = found.text(7),
                        .calibrate_ms = found.real(4),
                        .num_weights = found.integer(5),
                        .finished_at = found.text(6),
                        .layers = {}};
}

std::optional<FailureRow> read_failure(Connection& connection, const JobRow& job) {
  Query found(connection.statement(
      "SELECT f.run_id, f.rank, f.reason, f.log_tail, f.failed_at FROM failure f"
      " JOIN job j USING (job_id) WHERE j.identity = ? AND f.cleared_at IS NULL"
      " ORDER BY f.failure_id DESC LIMIT 1"));
  if (!found.bind(job.identity).step()) return std::nullopt;
  return FailureRow{.identity = job.identity,
                    .run_id = found.integer(0),
                    .rank = static_cast<int>(found.integer(1)),
                    .reason = found.text(2),
                    .log_tail = found.text(3),
                    .failed_at = found.text(4)};
}

}  // namespace

JobState read_job_state(Connection& connection, JobTable& jobs, const JobRow& job) {
  JobState state;
  const std::optional<std::int64_t> evaluation_id = jobs.find_evaluation(job.evaluation);
  if (!evaluation_id) return state;
  if (job.num_images > 0 && job.chunk <= 0)
    throw StoreError("job " + job.identity + " has no chunk size");
  read_tiles(connection, *evaluation_id, job, state);
  state.preparation = read_preparation(connection, *evaluation_id, job);
  state.failure = read_failure(connection, job);
  return state;
}

std::vector<RunRow> read_runs(Connection& connection) {
  std::vector<RunRow> rows;
  Query run(connection.statement(
      "SELECT run_id, experiment_name, experiment_path, experiment_json, command_line, "
      "git_commit,"
      " git_dirty, version, compiler, libraries, host, user, slurm_job, world_size, started_at,"
      " coalesce(finished_at, ''), coalesce(exit_code, -1), uuid FROM run ORDER BY run_id"));
  while (run.step()) {
    rows.push_back({.id = run.integer(0),
                    .experiment_name = run.text(1),
                    .experiment_path = run.text(2),
                    .experiment_json = run.text(3),
                    .command_line = run.text(4),
                    .git_commit = run.text(5),
                    .git_dirty = run.integer(6) != 0,
                    .version = run.text(7),
                    .compiler = run.text(8),
                    .libraries = run.text(9),
                    .host = run.text(10),
                    .user = run.text(11),
                    .slurm_job = run.text(12),
                    .world_size = static_cast<int>(run.integer(13)),
                    .started_at = run.text(14),
                    .finished_at = run.text(15),
                    .exit_code = static_cast<int>(run.integer(16)),
                    .uuid = run.text(17)});
  }
  return rows;
}

}  // namespace squant::results
