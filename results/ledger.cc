#include "results/ledger.h"

#include <limits>
#include <string>
#include <utility>

#include "results/verdict.h"

namespace squant::results {

const std::vector<StoredJob>& Ledger::jobs_of(std::int64_t evaluation_id) {
  auto [found, is_new] = jobs_of_.try_emplace(evaluation_id);
  if (is_new) {
    Query jobs = query("SELECT job_id, num_images, chunk FROM job WHERE evaluation_id = ?");
    jobs.bind(evaluation_id);
    while (jobs.step())
      found->second.push_back({jobs.integer(0), jobs.integer(1), jobs.integer(2)});
  }
  return found->second;
}

Totals Ledger::load(std::int64_t job_id) {
  Query found = query(
      "SELECT num_tiles, num_images, num_top1, num_top5, num_broken, digest, compute_ms,"
      " coalesce(completed_at, '') FROM total WHERE job_id = ?");
  found.bind(job_id).step();
  return {.num_tiles = found.integer(0),
          .num_images = found.integer(1),
          .num_top1 = found.integer(2),
          .num_top5 = found.integer(3),
          .num_broken = found.integer(4),
          .digest = found.optional_text(5),
          .compute_ms = found.real(6),
          .last_finished_at = found.text(7)};
}

bool Ledger::store(const StoredJob& job, const Totals& totals) {
  const bool is_complete =
      job.num_images > 0 ? totals.num_images == job.num_images : !totals.last_finished_at.empty();
  const Interval interval = wilson_interval_pct(totals.num_top1, totals.num_images);
  query("INSERT OR REPLACE INTO total VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .bind(job.job_id, totals.num_tiles, totals.num_images, totals.num_top1, totals.num_top5,
            totals.num_broken, totals.digest, totals.compute_ms, interval.low, interval.high,
            is_complete ? std::optional(totals.last_finished_at) : std::nullopt)
      .run();
  return is_complete;
}

Totals Ledger::add_up(const StoredJob& job) {
  Totals totals;
  if (job.num_images == 0) {
    Query preparation = query(
        "SELECT finished_at FROM job JOIN preparation USING (evaluation_id) WHERE job_id = ?");
    if (preparation.bind(job.job_id).step()) totals.last_finished_at = preparation.text(0);
  } else {
    Query tiles = query(
        "SELECT count, num_top1, num_top5, num_broken, digest, compute_ms, finished_at FROM tile"
        " WHERE evaluation_id = (SELECT evaluation_id FROM job WHERE job_id = ?1) AND first % ?2 = "
        "0"
        " AND count = min(?2, ?3 - first)");
    tiles.bind(job.job_id, job.chunk, job.num_images);
    while (tiles.step()) {
      TileRow tile;
      tile.count = tiles.integer(0);
      tile.num_top1 = tiles.integer(1);
      tile.num_top5 = tiles.integer(2);
      tile.num_broken = tiles.integer(3);
      tile.digest = tiles.optional_text(4);
      tile.compute_ms = tiles.real(5);
      tile.finished_at = tiles.text(6);
      totals.add(tile);
    }
  }
  return totals;
}

void Ledger::rebuild(const StoredJob& job) {
  if (store(job, add_up(job))) {
    on_complete(job);
  } else {
    class_counts_.clear(job.job_id);
    query(
        "UPDATE run_job SET verdict = NULL, verdict_text = NULL, judged_at = NULL WHERE job_id = ?")
        .bind(job.job_id)
        .run();
    judge_dependents(job.job_id);
  }
}

void Ledger::clear_failures(std::int64_t job_id, std::int64_t before_run_id) {
  query("UPDATE failure SET cleared_at = ? WHERE job_id = ? AND cleared_at IS NULL AND run_id < ?")
      .bind(utc_now(), job_id, before_run_id)
      .run();
}

void Ledger::recount_classes(const StoredJob& job) {
  Query complete = query("SELECT 1 FROM total WHERE job_id = ? AND completed_at IS NOT NULL");
  if (complete.bind(job.job_id).step()) class_counts_.rebuild(job);
}

void Ledger::on_complete(const StoredJob& job) {
  clear_failures(job.job_id, std::numeric_limits<std::int64_t>::max());
  class_counts_.rebuild(job);
  judge_job(job.job_id);
  judge_dependents(job.job_id);
}

void Ledger::judge_dependents(std::int64_t job_id) {
  std::vector<std::int64_t> dependents;
  {
    Query jobs = query(
        "SELECT j.job_id FROM job b JOIN evaluation f USING (evaluation_id)"
        " JOIN evaluation e ON e.checkpoint_sha256 = f.checkpoint_sha256"
        " AND e.dataset_fingerprint = f.dataset_fingerprint"
        " JOIN job j ON j.evaluation_id = e.evaluation_id AND j.num_images = b.num_images"
        " WHERE b.job_id = ?1 AND f.weight_bits = 0 AND f.activation_bits = 0 AND j.job_id <> ?1");
    jobs.bind(job_id);
    while (jobs.step()) dependents.push_back(jobs.integer(0));
  }
  for (const std::int64_t dependent : dependents) judge_job(dependent);
}

std::optional<double> Ledger::baseline_of(std::int64_t job_id) {
  Query found = query(
      "SELECT 100.0 * t.num_top1 / t.num_images FROM job j JOIN evaluation e USING (evaluation_id)"
      " JOIN evaluation f ON f.checkpoint_sha256 = e.checkpoint_sha256"
      " AND f.dataset_fingerprint = e.dataset_fingerprint"
      " AND f.weight_bits = 0 AND f.activation_bits = 0"
      " JOIN job b ON b.evaluation_id = f.evaluation_id AND b.num_images = j.num_images"
      " JOIN total t ON t.job_id = b.job_id AND t.completed_at IS NOT NULL"
      " WHERE j.job_id = ? AND f.model = e.model"
      " ORDER BY f.numerics_version = e.numerics_version DESC, t.completed_at DESC LIMIT 1");
  if (!found.bind(job_id).step()) return std::nullopt;
  return found.real(0);
}

// Judges a complete job for every run it is part of; leaves others alone, whose state the views
// tell.
void Ledger::judge_job(std::int64_t job_id) {
  VerdictInput input;
  {
    Query found = query(
        "SELECT j.num_images, e.dataset_size, t.num_top1, t.num_broken FROM job j"
        " JOIN evaluation e USING (evaluation_id) JOIN total t USING (job_id)"
        " WHERE j.job_id = ? AND t.completed_at IS NOT NULL");
    if (!found.bind(job_id).step()) return;
    input.num_images = input.num_planned = found.integer(0);
    input.num_reference = found.integer(1);
    input.num_top1 = found.integer(2);
    input.num_broken = found.integer(3);
  }
  input.baseline_top1_pct = baseline_of(job_id);
  std::vector<std::pair<std::int64_t, Verdict>> verdicts;
  {
    Query links = query(
        "SELECT run_id, reference_top1_pct, tolerance, reference_source, reference_baseline_pct"
        " FROM run_job WHERE job_id = ?");
    links.bind(job_id);
    while (links.step()) {
      input.reference.reset();
      if (!links.is_null(1))
        input.reference = {links.real(1), links.real(2), links.text(3), links.optional_real(4)};
      verdicts.emplace_back(links.integer(0), judge(input));
    }
  }
  for (const auto& [run_id, verdict] : verdicts) {
    query(
        "UPDATE run_job SET verdict = ?1, verdict_text = ?2, judged_at = ?3"
        " WHERE job_id = ?4 AND run_id = ?5 AND (verdict IS NOT ?1 OR verdict_text IS NOT ?2)")
        .bind(verdict_name(verdict.kind), verdict.text, utc_now(), job_id, run_id)
        .run();
  }
}

}  // namespace squant::results
