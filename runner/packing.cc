#include "runner/packing.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "eval/models/models.h"
#include "runner/collective/node_cache.h"

namespace squant::runner {
namespace {

constexpr int kMaxDeaths = 3;

}  // namespace

ImagePacker::ImagePacker(Spawner& spawner, ChildExecutorOptions options, std::string folder)
    : executor_(spawner, std::move(options)), folder_(std::move(folder)) {}

void ImagePacker::begin(const Plan& plan, const std::vector<JobInventory>& inventory) {
  for (std::size_t i = 0; i < plan.jobs.size(); ++i) {
    const PlannedJob& job = plan.jobs[i];
    if (!inventory[i].to_run || !job.evaluate || job.dataset < 0) continue;
    const PlannedDataset& dataset = plan.datasets[static_cast<std::size_t>(job.dataset)];
    const eval::Shape& shape = eval::model_info(job.job.model).input;
    const auto known = std::find_if(orders_.begin(), orders_.end(), [&](const Order& order) {
      return order.target.dataset == job.dataset && order.target.shape == shape;
    });
    if (known != orders_.end()) {
      known->work.count = std::max(known->work.count, job.row.num_images);
      continue;
    }
    const std::string name = "images " + dataset.name + " " + std::to_string(shape.width) + "x" +
                             std::to_string(shape.height);
    orders_.push_back(
        {{job.dataset, shape, name, {}}, {dataset.spec, job.row.num_images, shape, folder_}});
  }
  if (orders_.empty()) return;
  remove_old_drafts(folder_);
  executor_.start(orders_.front().work);
}

bool ImagePacker::step() {
  if (orders_.empty()) return true;
  std::optional<WorkResult> result = executor_.poll();
  if (!result) return false;
  finish(std::move(*result));
  if (!orders_.empty()) executor_.start(orders_.front().work);
  return orders_.empty();
}

void ImagePacker::finish(WorkResult result) {
  PackedDataset& target = orders_.front().target;
  if (const auto* failure = std::get_if<WorkFailed>(&result)) {
    if (failure->kind == FailureKind::kDied && ++orders_.front().deaths < kMaxDeaths) {
      spdlog::warn("{}: {}; packed anew", target.name, failure->reason);
      return;
    }
    throw std::invalid_argument("--broadcast-images: " + failure->reason);
  }
  target.pack = std::move(std::get<eval::ImagePack>(result));
  spdlog::info("{}: packed into {}, {} bytes", target.name, target.pack.path,
               target.pack.size_bytes);
  packs_.push_back(std::move(target));
  orders_.pop_front();
}

}  // namespace squant::runner
