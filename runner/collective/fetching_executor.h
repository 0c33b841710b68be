// A worker's executor that first gets the checkpoints its host does not have.
//
// Work whose checkpoints are missing is held back until they have arrived; its jobs then name the
// local copies. What cannot be got makes the work fail, with the reason.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "runner/collective/collective_mpi.h"
#include "runner/executor.h"

namespace squant::runner {

class FetchingExecutor final : public TaskExecutor {
 public:
  // `always`: also where the plan's path can be read. Both references must outlive it.
  FetchingExecutor(TaskExecutor& inner, MpiCollective& collective, bool always)
      : inner_(inner), collective_(collective), always_(always) {}

  void start(Work work) override;
  std::optional<WorkResult> poll() override;
  bool busy() const override { return held_.has_value() || inner_.busy(); }
  void wait(double seconds) override { inner_.wait(seconds); }

  // The worker hands on what is no message, and calls step() again and again, busy or not: other
  // nodes may get their files from here.
  void receive(const Envelope& envelope, double now);
  void step(double now);

 private:
  bool must_fetch(const eval::Job& job) const;
  void release();

  TaskExecutor& inner_;
  MpiCollective& collective_;
  const bool always_;
  double now_ = 0;
  std::map<std::string, std::string> local_;  // paths of what has arrived, by SHA-256
  std::optional<Work> held_;
  std::set<std::string> awaited_;  // SHA-256
  std::string problem_;            // of held work that will not run
};

}  // namespace squant::runner
