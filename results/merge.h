// Brings the results of another database into one. Internal to results/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/connection.h"

namespace squant::results {

struct MergeReport {
  std::int64_t num_runs = 0, num_jobs = 0, num_tiles = 0;  // that were new
  std::vector<std::string> conflicts;                      // not empty: nothing was merged
};

// Merges the database `from` into an open, locked one: runs are recognized by their uuid, jobs and
// tiles by what identifies them. A tile or preparation that both have with another outcome is a
// conflict. Throws StoreError, also where `from` is the same file.
MergeReport merge_database(Connection& into, std::int64_t generation, const std::string& from);

}  // namespace squant::results
