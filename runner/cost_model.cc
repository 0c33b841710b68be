#include "runner/cost_model.h"

#include <algorithm>
#include <cstddef>

namespace squant::runner {
namespace {

constexpr double kCostWeight = 0.3;  // of the newest measurement in a job's mean
// Slower, so that cost and slowness do not chase each other; a worker's first samples count more.
constexpr double kSlownessWeight = 0.1;
constexpr double kMaxSlowness = 20;

void blend(double& mean, double value, double weight) {
  mean = mean == 0 ? value : (1 - weight) * mean + weight * value;
}

}  // namespace

CostModel::CostModel(std::vector<int> models) {
  jobs_.reserve(models.size());
  for (const int model : models) jobs_.push_back({model, 0, 0});
}

std::optional<double> CostModel::image_s(int job) const {
  const JobCost& cost = jobs_[static_cast<std::size_t>(job)];
  if (cost.image_s > 0) return cost.image_s;
  const auto model = model_image_s_.find(cost.model);
  if (model != model_image_s_.end()) return model->second;
  if (any_image_s_ > 0) return any_image_s_;
  return std::nullopt;
}

double CostModel::slowness(int worker) const {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? 1 : found->second.slowness;
}

std::optional<double> CostModel::expected_s(int job, int worker) const {
  const std::optional<double> average = image_s(job);
  if (!average) return std::nullopt;
  return *average * slowness(worker);
}

void CostModel::measured(int job, int worker, std::int64_t images, double seconds) {
  if (images <= 0 || !(seconds > 0)) return;
  JobCost& cost = jobs_[static_cast<std::size_t>(job)];
  const double sample = seconds / static_cast<double>(images);
  auto& [slowness, num_samples] = workers_[worker];
  if (cost.image_s > 0) {
    ++num_samples;
    blend(slowness, sample / cost.image_s, std::max(kSlownessWeight, 1.0 / (1 + num_samples)));
    slowness = std::clamp(slowness, 1 / kMaxSlowness, kMaxSlowness);
    known_remaining_s_ -= cost.image_s * static_cast<double>(cost.remaining);
  } else {
    unknown_remaining_ -= cost.remaining;
  }
  blend(cost.image_s, sample / slowness, kCostWeight);
  blend(model_image_s_[cost.model], sample / slowness, kCostWeight);
  blend(any_image_s_, sample / slowness, kCostWeight);
  known_remaining_s_ += cost.image_s * static_cast<double>(cost.remaining);
}

void CostModel::add_remaining(int job, std::int64_t images) {
  JobCost& cost = jobs_[static_cast<std::size_t>(job)];
  cost.remaining += images;
  if (cost.image_s > 0) {
    known_remaining_s_ += cost.image_s * static_cast<double>(images);
  } else {
    unknown_remaining_ += images;
  }
}

double CostModel::remaining_s() const {
  return std::max(0.0, known_remaining_s_) + any_image_s_ * static_cast<double>(unknown_remaining_);
}

}  // namespace squant::runner
