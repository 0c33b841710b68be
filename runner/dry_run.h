// --dry-run: what would be done.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "results/rows.h"
#include "runner/inventory.h"
#include "runner/plan.h"

namespace squant::runner {

// How much work a plan leaves.
struct WorkSize {
  int jobs_to_run = 0;
  int finished = 0, partly = 0, is_new = 0, failed = 0;
  std::int64_t preparations = 0;
  std::int64_t tiles = 0;        // one job on one chunk
  std::int64_t evaluations = 0;  // images times jobs
};
WorkSize work_size(const Plan& plan, const std::vector<JobInventory>& inventory);

// The lines of the report. `measured`: rows of the database, for the estimate; `workers` share the
// work.
std::vector<std::string> dry_run_report(const Plan& plan,
                                        const std::vector<JobInventory>& inventory,
                                        std::span<const results::ResultRow> measured, int workers);

}  // namespace squant::runner
