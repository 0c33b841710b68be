#include "runner/collective/fetching_executor.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace squant::runner {
namespace {

// --- calls function(path, sha256) for each file that work reads

template <typename Function>
void for_each_file(PreparationWork& work, Function function) {
  function(work.job.checkpoint, work.job.checkpoint_sha256);
}

template <typename Function>
void for_each_file(TileWork& work, Function function) {
  function(work.dataset.images, work.dataset.sha256);
  for (eval::Evaluator::TileJob& one : work.jobs)
    function(one.job.checkpoint, one.job.checkpoint_sha256);
}

template <typename Function>
void for_each_file(PackingWork&, Function) {}

// The root of a group sends what it has; the others are sent it.
template <typename Function>
void for_each_file(BroadcastWork& work, Function function) {
  if (work.group.rank != work.group.root) return;
  for (SharedFile& file : work.files) function(file.path, file.sha256);
}

template <typename Function>
void for_each_file(Work& work, Function function) {
  std::visit([&](auto& one) { for_each_file(one, function); }, work);
}

bool can_read(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

}  // namespace

void FetchingExecutor::start(Work work) {
  if (busy()) throw std::logic_error("FetchingExecutor: work was started while other work runs");
  held_ = std::move(work);
  problems_.clear();
  dropped_.clear();
  for_each_file(*held_, [this](const std::string& path, const std::string& sha256) {
    if (must_fetch(path, sha256)) fetch(path, sha256);
  });
  if (awaited_.empty()) release();
}

std::optional<WorkResult> FetchingExecutor::poll() {
  if (held_) {
    if (!result_) return std::nullopt;
    held_.reset();
    return std::exchange(result_, std::nullopt);
  }
  std::optional<WorkResult> result = inner_.poll();
  if (!result) return std::nullopt;
  if (auto* tile = std::get_if<eval::Evaluator::Tile>(&*result)) add_dropped(*tile);
  if (const auto* deliveries = std::get_if<Deliveries>(&*result)) {
    for (const Delivery& one : *deliveries) {
      if (!one.path.empty()) local_[one.sha256] = one.path;
    }
  }
  return result;
}

void FetchingExecutor::receive(const Envelope& envelope, double now) {
  now_ = now;
  collective_.receive(envelope, now);
}

void FetchingExecutor::step(double now) {
  now_ = now;
  for (const Delivery& delivery : collective_.step(now)) {
    if (delivery.error.empty()) {
      spdlog::info("file {} is at {}: {} bytes received in {:.2f} s", delivery.sha256,
                   delivery.path, delivery.bytes, delivery.seconds);
      local_[delivery.sha256] = delivery.path;
    } else {
      problems_[delivery.sha256] = delivery.error;
    }
    if (awaited_.erase(delivery.sha256) > 0 && awaited_.empty()) release();
  }
}

std::vector<std::string> FetchingExecutor::lacking(const std::vector<SharedFile>& files) {
  std::vector<std::string> missing;
  for (const SharedFile& file : files) {
    if (must_fetch(file.path, file.sha256) && !collective_.find(file.sha256))
      missing.push_back(file.sha256);
  }
  return missing;
}

bool FetchingExecutor::must_fetch(const std::string& path, const std::string& sha256) const {
  if (sha256.empty()) return false;
  const auto found = local_.find(sha256);
  if (found != local_.end()) return !can_read(found->second);  // somebody emptied the cache
  return always_ || !can_read(path);
}

void FetchingExecutor::fetch(const std::string& path, const std::string& sha256) {
  if (!awaited_.insert(sha256).second) return;
  spdlog::info("asks for {} ({})", path, sha256);
  collective_.begin({path, sha256}, now_);
}

std::optional<std::string> FetchingExecutor::problem_of(const std::string& sha256) const {
  const auto found = problems_.find(sha256);
  if (found == problems_.end()) return std::nullopt;
  return found->second;
}

// Where nothing of the work can be done. What a broadcast lacks is its own affair.
std::optional<std::string> FetchingExecutor::problem_of_all(const Work& work) const {
  if (const auto* preparation = std::get_if<PreparationWork>(&work))
    return problem_of(preparation->job.checkpoint_sha256);
  if (const auto* tile = std::get_if<TileWork>(&work)) return problem_of(tile->dataset.sha256);
  return std::nullopt;
}

void FetchingExecutor::drop_jobs(TileWork& tile) {
  std::vector<eval::Evaluator::TileJob> rest;
  for (std::size_t i = 0; i < tile.jobs.size(); ++i) {
    if (auto problem = problem_of(tile.jobs[i].job.checkpoint_sha256)) {
      dropped_[i] = std::move(*problem);
    } else {
      rest.push_back(std::move(tile.jobs[i]));
    }
  }
  tile.jobs = std::move(rest);
}

void FetchingExecutor::add_dropped(eval::Evaluator::Tile& tile) {
  for (auto& [index, problem] : dropped_) {
    eval::Evaluator::TileResult failed;
    failed.error = std::move(problem);
    tile.results.insert(tile.results.begin() + static_cast<std::ptrdiff_t>(index),
                        std::move(failed));
  }
  dropped_.clear();
}

void FetchingExecutor::release() {
  if (const auto problem = problem_of_all(*held_)) {
    result_ = WorkFailed{*problem};
    return;
  }
  for_each_file(*held_, [this](std::string& path, const std::string& sha256) {
    const auto found = local_.find(sha256);
    if (found != local_.end()) path = found->second;
  });
  if (auto* tile = std::get_if<TileWork>(&*held_)) {
    drop_jobs(*tile);
    if (tile->jobs.empty()) {
      eval::Evaluator::Tile failed;
      add_dropped(failed);
      result_ = std::move(failed);
      return;
    }
  }
  Work work = *std::exchange(held_, std::nullopt);
  inner_.start(std::move(work));
}

}  // namespace squant::runner
