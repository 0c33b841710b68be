#include "runner/executor.h"

#include <chrono>
#include <exception>
#include <map>
#include <new>
#include <utility>

namespace squant::runner {

void Waker::wake() {
  {
    const std::lock_guard guard(mutex_);
    awake_ = true;
  }
  condition_.notify_one();
}

void Waker::sleep(double seconds) {
  std::unique_lock lock(mutex_);
  condition_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return awake_; });
  awake_ = false;
}

ThreadExecutor::ThreadExecutor(Function function, Waker* waker)
    : function_(std::move(function)), waker_(waker), thread_([this] { run(); }) {}

ThreadExecutor::~ThreadExecutor() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  condition_.notify_one();
  thread_.join();
}

void ThreadExecutor::start(Work work) {
  {
    const std::lock_guard guard(mutex_);
    if (busy_) throw std::logic_error("ThreadExecutor: work was started while other work runs");
    work_ = std::move(work);
    busy_ = true;
  }
  condition_.notify_one();
}

std::optional<WorkResult> ThreadExecutor::poll() {
  const std::lock_guard guard(mutex_);
  if (!result_) return std::nullopt;
  busy_ = false;
  return std::exchange(result_, std::nullopt);
}

bool ThreadExecutor::busy() const {
  const std::lock_guard guard(mutex_);
  return busy_;
}

void ThreadExecutor::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    condition_.wait(lock, [this] { return stopping_ || work_; });
    if (stopping_) return;
    const Work work = *std::exchange(work_, std::nullopt);
    lock.unlock();
    WorkResult result;
    try {
      result = function_(work);
    } catch (const std::bad_alloc&) {
      result = WorkFailed{"out of memory"};
    } catch (const std::exception& error) {
      result = WorkFailed{error.what()};
    } catch (...) {
      result = WorkFailed{"an exception of unknown type"};
    }
    lock.lock();
    result_ = std::move(result);
    if (waker_ != nullptr) waker_->wake();
  }
}

ThreadExecutor::Function evaluator_function(const eval::EvaluatorOptions& options) {
  // By number of repeats: those of a timing experiment differ from the default.
  auto evaluators = std::make_shared<std::map<int, std::unique_ptr<eval::Evaluator>>>();
  const auto evaluator = [options, evaluators](int repeats) -> eval::Evaluator& {
    eval::EvaluatorOptions with = options;
    if (repeats > 0) with.quantize_repeats = repeats;
    std::unique_ptr<eval::Evaluator>& one = (*evaluators)[with.quantize_repeats];
    if (!one) one = std::make_unique<eval::Evaluator>(with);
    return *one;
  };
  return [evaluator](const Work& work) -> WorkResult {
    if (const auto* preparation = std::get_if<PreparationWork>(&work)) {
      return evaluator(preparation->repeats).prepare(preparation->job);
    }
    const auto& tile = std::get<TileWork>(work);
    return evaluator(0).run_tile(tile.dataset, tile.first, tile.count, tile.jobs, {});
  };
}

}  // namespace squant::runner
