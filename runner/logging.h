// The program's log: kept in memory for failures, and written where the user asked for it.
#pragma once

#include <string>

#include "runner/options.h"

namespace squant::runner {

// Sets spdlog's default logger. Rank 0 writes to the log file, other ranks to FILE.rankN; only rank
// 0 prints. Throws std::invalid_argument where rank 0 cannot write its file; other ranks then go
// without.
void set_up_logging(const Options& options, int rank);

// The last lines, newest last.
std::string log_tail();

}  // namespace squant::runner
