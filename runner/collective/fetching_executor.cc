#include "runner/collective/fetching_executor.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace squant::runner {
namespace {

template <typename Function>
void for_each_job(Work& work, Function function) {
  if (auto* preparation = std::get_if<PreparationWork>(&work)) {
    function(preparation->job);
  } else {
    for (eval::Evaluator::TileJob& one : std::get<TileWork>(work).jobs) function(one.job);
  }
}

bool can_read(const std::string& path) { return ::access(path.c_str(), R_OK) == 0; }

}  // namespace

void FetchingExecutor::start(Work work) {
  if (busy()) throw std::logic_error("FetchingExecutor: work was started while other work runs");
  held_ = std::move(work);
  for_each_job(*held_, [this](const eval::Job& job) {
    if (!must_fetch(job) || !awaited_.insert(job.checkpoint_sha256).second) return;
    spdlog::info("asks for checkpoint {} ({})", job.checkpoint, job.checkpoint_sha256);
    collective_.begin({job.checkpoint, job.checkpoint_sha256}, now_);
  });
  if (awaited_.empty()) release();
}

std::optional<WorkResult> FetchingExecutor::poll() {
  if (!held_) return inner_.poll();
  if (!awaited_.empty()) return std::nullopt;
  held_.reset();
  return WorkFailed{std::exchange(problem_, {})};
}

void FetchingExecutor::receive(const Envelope& envelope, double now) {
  now_ = now;
  collective_.receive(envelope, now);
}

void FetchingExecutor::step(double now) {
  now_ = now;
  for (const Delivery& delivery : collective_.step(now)) {
    if (delivery.error.empty()) {
      spdlog::info("checkpoint {} is at {}: {} bytes received in {:.2f} s", delivery.sha256,
                   delivery.path, delivery.bytes, delivery.seconds);
      local_[delivery.sha256] = delivery.path;
    } else {
      problem_ = delivery.error;
    }
    awaited_.erase(delivery.sha256);
    if (held_ && awaited_.empty() && problem_.empty()) release();
  }
}

bool FetchingExecutor::must_fetch(const eval::Job& job) const {
  if (job.checkpoint_sha256.empty()) return false;
  const auto found = local_.find(job.checkpoint_sha256);
  if (found != local_.end()) return !can_read(found->second);  // somebody emptied the cache
  return always_ || !can_read(job.checkpoint);
}

void FetchingExecutor::release() {
  Work work = *std::exchange(held_, std::nullopt);
  for_each_job(work, [this](eval::Job& job) {
    const auto found = local_.find(job.checkpoint_sha256);
    if (found != local_.end()) job.checkpoint = found->second;
  });
  inner_.start(std::move(work));
}

}  // namespace squant::runner
