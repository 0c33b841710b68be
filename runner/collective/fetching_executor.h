// A worker's executor that first gets the files its host does not have: checkpoints, and packs of
// images.
//
// Work whose files are missing is held back until they have arrived; it then names the local
// copies. A job whose checkpoint cannot be got fails with the reason, the other jobs of its tile
// are computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

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

  // The SHA-256 of those that can be read neither under their path nor from the host's cache.
  std::vector<std::string> lacking(const std::vector<SharedFile>& files);
  // Where files go that arrive.
  const std::string& cache_folder() const { return collective_.cache_folder(); }

 private:
  bool must_fetch(const std::string& path, const std::string& sha256) const;
  void fetch(const std::string& path, const std::string& sha256);
  void release();
  std::optional<std::string> problem_of(const std::string& sha256) const;
  std::optional<std::string> problem_of_all(const Work& work) const;
  void drop_jobs(TileWork& tile);
  void add_dropped(eval::Evaluator::Tile& tile);

  TaskExecutor& inner_;
  MpiCollective& collective_;
  const bool always_;
  double now_ = 0;
  std::map<std::string, std::string> local_;  // paths of what has arrived, by SHA-256
  std::optional<Work> held_;
  std::set<std::string> awaited_;                // SHA-256
  std::map<std::string, std::string> problems_;  // of files that the work at hand did not get
  std::map<std::size_t, std::string> dropped_;   // jobs of the tile at hand that lack one, and why
  std::optional<WorkResult> result_;             // of work that was not handed on
};

}  // namespace squant::runner
