#include "runner/image_finder.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace squant::runner {

ImageFinder::ImageFinder(TaskExecutor& executor, std::function<double()> clock, double patience_s)
    : executor_(executor), clock_(std::move(clock)), patience_s_(patience_s) {}

void ImageFinder::start(Work work) {
  started_ = clock_();
  tile_.reset();
  if (const auto* tile = std::get_if<TileWork>(&work)) tile_ = *tile;
  executor_.start(std::move(work));
}

std::optional<WorkResult> ImageFinder::poll() {
  std::optional<WorkResult> result = executor_.poll();
  if (!result) return std::nullopt;
  const auto* failure = std::get_if<WorkFailed>(&*result);
  if (!search_) {
    if (failure == nullptr || !worth_a_search(*failure)) return result;
    if (const std::optional<std::int64_t> known = known_image()) {
      return WorkFailed{
          failure->reason + "; image " + std::to_string(*known) + " alone did it before",
          failure->kind};
    }
    search_ =
        Search{.tile = *tile_, .failure = *failure, .first = tile_->first, .count = tile_->count};
    started_ = clock_();
    spdlog::info("{}: looking for an image that is to blame", failure->reason);
    try_part(search_->first, search_->count / 2);
    return std::nullopt;
  }
  const bool died = failure != nullptr && failure->kind == FailureKind::kDied;
  if ((failure != nullptr && !died) || clock_() - started_ > patience_s_) return conclude("");
  return next(died);
}

bool ImageFinder::worth_a_search(const WorkFailed& failure) const {
  return failure.kind == FailureKind::kDied && tile_ && tile_->jobs.size() == 1 &&
         tile_->count > 1 && clock_() - started_ <= patience_s_;
}

// Found in an earlier search: one is enough, for however many jobs the image ends.
std::optional<std::int64_t> ImageFinder::known_image() const {
  const auto image = found_.lower_bound({tile_->dataset.images, tile_->first});
  if (image == found_.end() || image->first != tile_->dataset.images ||
      image->second >= tile_->first + tile_->count) {
    return std::nullopt;
  }
  return image->second;
}

void ImageFinder::try_part(std::int64_t first, std::int64_t count) {
  search_->tried_first = first;
  search_->tried_count = count;
  TileWork part = search_->tile;
  part.first = first;
  part.count = count;
  executor_.start(std::move(part));
}

// After a part was tried. Halves are tried from the left: where one passes, the other is to blame.
std::optional<WorkResult> ImageFinder::next(bool died) {
  Search& search = *search_;
  if (search.confirmed)
    return died ? conclude("; other images of the tile do it too") : conclude_with_image();
  search.some_passed = search.some_passed || !died;
  if (died) {
    search.first = search.tried_first;
    search.count = search.tried_count;
  } else if (search.count == 1) {
    return conclude("");  // it does not happen again
  } else {
    search.first += search.tried_count;
    search.count -= search.tried_count;
  }
  if (search.count > 1) {
    try_part(search.first, search.count / 2);
  } else if (!died) {
    try_part(search.first, 1);
  } else if (search.some_passed) {
    return conclude_with_image();
  } else {  // the tile's first image: perhaps any image would do
    search.confirmed = true;
    try_part(search.first + 1, search.tile.first + search.tile.count - search.first - 1);
  }
  return std::nullopt;
}

WorkResult ImageFinder::conclude_with_image() {
  found_.emplace(search_->tile.dataset.images, search_->first);
  return conclude("; image " + std::to_string(search_->first) + " alone does it");
}

WorkResult ImageFinder::conclude(const std::string& finding) {
  WorkFailed failure = std::move(search_->failure);
  failure.reason += finding;
  search_.reset();
  return failure;
}

}  // namespace squant::runner
