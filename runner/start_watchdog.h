// MPI's start-up waits for every rank. Of one that has died meanwhile nobody hears under
// `mpirun --enable-recovery`, and the others would wait for ever.
#pragma once

#include <string>

namespace squant::runner {

// While it lives, for at most `limit_s` seconds; then it says on standard error which rank waited
// where, and ends the process with `exit_code`. No thread: it is a timer (SIGALRM), and forked
// processes do not have it. One at a time.
class StartWatchdog {
 public:
  StartWatchdog(int rank, const std::string& host, double limit_s, int exit_code);
  ~StartWatchdog();
  StartWatchdog(const StartWatchdog&) = delete;
  StartWatchdog& operator=(const StartWatchdog&) = delete;
};

}  // namespace squant::runner
