#include "runner/work_evaluator.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/batch_size.h"
#include "eval/images/nvjpeg_library.h"
#include "eval/models/models.h"

namespace squant::runner {
namespace {

template <std::size_t N>
bool contains_any(const std::string& text, const std::array<std::string_view, N>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return text.find(part) != std::string::npos; });
}

// LibTorch's errors bring the addresses of the call stack along.
std::string first_line(const std::string& error) { return error.substr(0, error.find('\n')); }

WorkFailed failed(const std::string& error) {
  const std::string why = first_line(error);
  if (tells_of_memory(why)) return {"out of memory: " + why, FailureKind::kOutOfMemory};
  return {why, tells_of_lost_device(why) ? FailureKind::kDied : FailureKind::kError};
}

}  // namespace

bool tells_of_memory(const std::string& error) {
  return contains_any(
      error, std::to_array<std::string_view>({"bad_alloc", "out of memory", "out_of_memory",
                                              "can't allocate memory", "Cannot allocate memory",
                                              "ALLOC_FAILED"}));
}

bool tells_of_lost_device(const std::string& error) {
  return !tells_of_memory(error) &&
         contains_any(error,
                      std::to_array<std::string_view>({"CUDA error", "cudaError", "cuDNN error",
                                                       "CUBLAS_STATUS", "CUDNN_STATUS"}));
}

int largest_batch_size(const TileWork& tile) {
  std::int64_t largest = 1;
  for (const eval::Evaluator::TileJob& job : tile.jobs) {
    const eval::ModelInfo& info = eval::model_info(job.job.model);
    largest = std::max(
        {largest, eval::default_batch_size(info, true), eval::default_batch_size(info, false)});
  }
  return static_cast<int>(std::min(largest, std::max<std::int64_t>(tile.count, 1)));
}

WorkResult WorkEvaluator::run(const Work& work, const Progress& progress) {
  WorkResult result = run_once(work, progress);
  if (const auto* why = std::get_if<WorkFailed>(&result);
      why != nullptr && why->kind == FailureKind::kOutOfMemory && !frugal_) {
    spdlog::warn("{}: once more with nothing else in memory", why->reason);
    frugal_ = true;
    evaluator_.reset();
    result = run_once(work, progress);
  }
  auto* tile = std::get_if<eval::Evaluator::Tile>(&result);
  if (tile == nullptr) return result;
  retry_for_memory(std::get<TileWork>(work), *tile, progress);
  for (eval::Evaluator::TileResult& one : tile->results) {
    if (tells_of_lost_device(one.error)) return failed(one.error);
    one.error = first_line(one.error);
  }
  return result;
}

WorkResult WorkEvaluator::run_once(const Work& work, const Progress& progress) {
  try {
    if (const auto* preparation = std::get_if<PreparationWork>(&work))
      return evaluator().prepare(preparation->job, preparation->repeats);
    const auto& tile = std::get<TileWork>(work);
    return evaluator().run_tile(tile.dataset, tile.first, tile.count, tile.jobs, progress);
  } catch (const eval::NvjpegUnavailable& error) {
    return WorkFailed{error.what(), FailureKind::kWorkerUnusable};
  } catch (const std::exception& error) {
    return failed(error.what());
  } catch (...) {
    return failed("an exception of unknown type");
  }
}

void WorkEvaluator::retry_for_memory(const TileWork& tile, eval::Evaluator::Tile& result,
                                     const Progress& progress) {
  for (;;) {
    std::vector<std::size_t> starved;
    TileWork again{tile.dataset, tile.first, tile.count, {}};
    for (std::size_t i = 0; i < result.results.size(); ++i) {
      if (!tells_of_memory(result.results[i].error)) continue;
      starved.push_back(i);
      again.jobs.push_back(tile.jobs[i]);
    }
    if (starved.empty()) return;
    const std::string why = first_line(result.results[starved.front()].error);
    if (!save_memory(again)) return;
    spdlog::warn("out of memory ({}): once more with {} images at a time", why,
                 options_.batch_size);
    WorkResult retried = run_once(again, progress);
    auto* better = std::get_if<eval::Evaluator::Tile>(&retried);
    if (better == nullptr) return;
    for (std::size_t i = 0; i < starved.size(); ++i)
      result.results[starved[i]] = std::move(better->results[i]);
  }
}

// Whether less can be tried.
bool WorkEvaluator::save_memory(const TileWork& tile) {
  if (options_.batch_size == 0) options_.batch_size = largest_batch_size(tile);
  if (options_.batch_size == 1 && frugal_) return false;
  frugal_ = true;
  options_.batch_size = std::max(1, options_.batch_size / 2);
  evaluator_.reset();
  return true;
}

eval::Evaluator& WorkEvaluator::evaluator() {
  if (!evaluator_) {
    eval::EvaluatorOptions with = options_;
    if (frugal_) with.memory_budget = 0;
    evaluator_ = std::make_unique<eval::Evaluator>(with);
  }
  return *evaluator_;
}

}  // namespace squant::runner
