// Rank 0: reads the experiment, runs the sweep, shows what came out.
#pragma once

#include <string>
#include <vector>

#include "runner/options.h"
#include "runner/process.h"

namespace squant::runner {

// Returns the exit code; workers have been told to leave then. Prints what is wrong.
int run_coordinator_rank(Rank& rank, const Options& options,
                         const std::vector<std::string>& arguments);

}  // namespace squant::runner
