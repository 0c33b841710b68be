// What a coordinator asks the database before it runs anything. Internal to results/.
// Every function runs inside the caller's transaction.
#pragma once

#include <cstdint>
#include <vector>

#include "results/connection.h"
#include "results/job_table.h"

namespace squant::results {

// Throws StoreError for a job with images and no chunk size.
JobState read_job_state(Connection& connection, JobTable& jobs, const JobRow& job);

// By number.
std::vector<RunRow> read_runs(Connection& connection);

}  // namespace squant::results
