#include "runner/start_watchdog.h"

#include <sys/time.h>
#include <unistd.h>

#include <cmath>
#include <csignal>

namespace squant::runner {
namespace {

// What the signal handler needs: it may allocate nothing.
std::string last_words;
int last_exit_code = 0;

void give_up(int) {
  [[maybe_unused]] const ssize_t written =
      write(STDERR_FILENO, last_words.data(), last_words.size());
  _exit(last_exit_code);
}

void set_timer(double seconds) {
  itimerval timer{};
  double whole = 0;
  timer.it_value.tv_usec = static_cast<suseconds_t>(std::modf(seconds, &whole) * 1e6);
  timer.it_value.tv_sec = static_cast<time_t>(whole);
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace

StartWatchdog::StartWatchdog(int rank, const std::string& host, double limit_s, int exit_code) {
  last_words = "squant-sweep: rank " + std::to_string(rank) + " on " + host + " waited " +
               std::to_string(std::lround(limit_s)) +
               " s for the other ranks to start (--start-timeout) and ends: one has died or cannot "
               "be reached; the same command goes on\n";
  last_exit_code = exit_code;
  std::signal(SIGALRM, give_up);
  set_timer(limit_s);
}

StartWatchdog::~StartWatchdog() {
  set_timer(0);
  std::signal(SIGALRM, SIG_DFL);
}

}  // namespace squant::runner
