// Work to its result, with the memory there is.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "eval/evaluator.h"
#include "runner/executor.h"

namespace squant::runner {

// Whether the text of an error says that memory did not suffice: the host's or the device's,
// whichever library ran out of it.
bool tells_of_memory(const std::string& error);
// ... or that the device can no longer be used by this process, as CUDA has it after an illegal
// access: whatever else this process tries fails too.
bool tells_of_lost_device(const std::string& error);

// The most images that an engine of the tile's jobs is given at a time where the user does not say.
int largest_batch_size(const TileWork& tile);

// Evaluates. Work that does not fit into memory is tried again with everything dropped that was
// kept for later, then with half as many images at a time, down to one. Not thread-safe.
class WorkEvaluator {
 public:
  explicit WorkEvaluator(const eval::EvaluatorOptions& options) : options_(options) {}

  // A preparation or a tile. `progress` is called now and then with the number of the tile's jobs
  // that are done. Throws nothing: what goes wrong is a WorkFailed, or the error of a job of the
  // tile.
  WorkResult run(const Work& work, const std::function<void(std::size_t)>& progress);

 private:
  using Progress = std::function<void(std::size_t)>;
  WorkResult run_once(const Work& work, const Progress& progress);
  void retry_for_memory(const TileWork& tile, eval::Evaluator::Tile& result,
                        const Progress& progress);
  bool save_memory(const TileWork& tile);
  eval::Evaluator& evaluator();

  eval::EvaluatorOptions options_;
  bool frugal_ = false;  // nothing is kept that is not needed at once
  std::unique_ptr<eval::Evaluator> evaluator_;
};

}  // namespace squant::runner
