// Does the work of a worker. The worker's main thread speaks MPI and must never be kept waiting, so
// the work runs elsewhere: in a child process (child_executor.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "eval/evaluator.h"
#include "runner/failure.h"

namespace squant::runner {

struct PreparationWork {
  eval::Job job;
  int repeats = 0;  // of the timed quantization; 0: the evaluator's default
};
struct TileWork {
  eval::DatasetSpec dataset;
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::vector<eval::Evaluator::TileJob> jobs;
};
using Work = std::variant<PreparationWork, TileWork>;

struct WorkFailed {
  std::string reason;
  FailureKind kind = FailureKind::kError;
};
using WorkResult = std::variant<eval::Preparation, eval::Evaluator::Tile, WorkFailed>;

class TaskExecutor {
 public:
  virtual ~TaskExecutor() = default;
  // One piece of work at a time.
  virtual void start(Work work) = 0;
  // The result, once, when it is there. Never blocks.
  virtual std::optional<WorkResult> poll() = 0;
  virtual bool busy() const = 0;
  // Sleeps for so many seconds, less where poll() may have something new.
  virtual void wait(double seconds) = 0;
};

}  // namespace squant::runner
