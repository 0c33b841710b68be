// What follows from the tiles: each job's sums, its completion, its verdicts. Internal to results/.
// Every function runs inside the caller's transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "results/class_counts.h"
#include "results/connection.h"
#include "results/totals.h"

namespace squant::results {

class Ledger {
 public:
  explicit Ledger(Connection& connection) : connection_(connection), class_counts_(connection) {}

  // The jobs that read tiles of this evaluation. Kept from call to call: whoever changes jobs calls
  // forget_grids().
  const std::vector<StoredJob>& jobs_of(std::int64_t evaluation_id);
  void forget_grids() { jobs_of_.clear(); }

  Totals load(std::int64_t job_id);
  // Stores the sums and returns whether they complete the job.
  bool store(const StoredJob& job, const Totals& totals);
  // The sum of the tiles of the job's grid, without storing it.
  Totals add_up(const StoredJob& job);
  // Adds up, stores the sums, and judges a complete job.
  void rebuild(const StoredJob& job);
  // Counts a complete job's classes once more: outcomes have come to its tiles.
  void recount_classes(const StoredJob& job);

  // Clears the job's failures, counts its classes and judges it; a float job also those that it is
  // the baseline of.
  void on_complete(const StoredJob& job);
  void clear_failures(std::int64_t job_id, std::int64_t before_run_id);
  // Judges a complete job for every run it is part of; leaves others alone, whose state the views
  // tell.
  void judge_job(std::int64_t job_id);

 private:
  Query query(const char* sql) { return Query(connection_.statement(sql)); }
  // A float job is the baseline of all that have its checkpoint and images.
  void judge_dependents(std::int64_t job_id);
  std::optional<double> baseline_of(std::int64_t job_id);

  Connection& connection_;
  ClassCounts class_counts_;
  std::unordered_map<std::int64_t, std::vector<StoredJob>> jobs_of_;
};

}  // namespace squant::results
