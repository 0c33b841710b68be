// Does the work of a worker. The worker's main thread speaks MPI and must never be kept waiting, so
// the work runs elsewhere: in a child process (child_executor.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "eval/evaluator.h"
#include "eval/images/image_pack.h"
#include "runner/collective/collective_nccl.h"
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
// The first `count` images of a data set, packed for nodes that lack it (image_pack.h).
struct PackingWork {
  eval::DatasetSpec dataset;
  std::int64_t count = 0;
  eval::Shape shape;
  std::string folder;
};
// This GPU's part in sending files to all GPUs of a group. Every member has the same files.
struct BroadcastWork {
  NcclGroup group;
  std::vector<SharedFile> files;
  std::string cache;  // folder for what arrives
};
using Work = std::variant<PreparationWork, TileWork, PackingWork, BroadcastWork>;

struct WorkFailed {
  std::string reason;
  FailureKind kind = FailureKind::kError;
};
// What became of each file of a broadcast.
using Deliveries = std::vector<Delivery>;
using WorkResult =
    std::variant<eval::Preparation, eval::Evaluator::Tile, eval::ImagePack, Deliveries, WorkFailed>;

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
