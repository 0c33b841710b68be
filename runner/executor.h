// Does the work of a worker. The worker's main thread speaks MPI and must never be kept waiting, so
// the work runs elsewhere: today in a second thread of the rank; a child process could stand behind
// the same interface.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "eval/evaluator.h"

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
};

// Lets a thread sleep until there may be something to do.
class Waker {
 public:
  void wake();
  void sleep(double seconds);  // at most; shorter after wake()

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool awake_ = false;
};

// Runs `function` in a thread of its own. What it throws becomes a WorkFailed.
class ThreadExecutor final : public TaskExecutor {
 public:
  using Function = std::function<WorkResult(const Work&)>;
  // `waker` (may be null) is woken when a result is there; it must outlive the executor.
  ThreadExecutor(Function function, Waker* waker);
  ~ThreadExecutor() override;  // waits for the work in progress
  void start(Work work) override;
  std::optional<WorkResult> poll() override;
  bool busy() const override;

 private:
  void run();

  Function function_;
  Waker* waker_;
  mutable std::mutex mutex_;
  std::condition_variable condition_;
  std::optional<Work> work_;
  std::optional<WorkResult> result_;
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

// A function for ThreadExecutor that evaluates. The evaluator is made by the first call, in the
// executor's thread.
ThreadExecutor::Function evaluator_function(const eval::EvaluatorOptions& options);

}  // namespace squant::runner
