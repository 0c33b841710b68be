// Finds the image that kills. Where a tile of a single job ends its process, parts of the tile are
// tried until one image is left, and the failure then names it. Stands between a worker and the
// executor that does the work.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "runner/executor.h"

namespace squant::runner {

class ImageFinder final : public TaskExecutor {
 public:
  // `executor` must outlive this; `clock` gives seconds, of any origin. A death that took longer
  // than `patience_s`, as a hang does, is not tried again, and the search takes no longer either.
  ImageFinder(TaskExecutor& executor, std::function<double()> clock, double patience_s = 60);

  void start(Work work) override;
  std::optional<WorkResult> poll() override;
  bool busy() const override { return executor_.busy() || search_.has_value(); }
  void wait(double seconds) override { executor_.wait(seconds); }

 private:
  struct Search {
    TileWork tile;
    WorkFailed failure;                 // of the whole tile
    std::int64_t first = 0, count = 0;  // the image is among these, if one is to blame
    std::int64_t tried_first = 0, tried_count = 0;
    bool some_passed = false;  // other images of the tile do no harm
    bool confirmed = false;    // the one image that is left does; the others are being tried
  };

  bool worth_a_search(const WorkFailed& failure) const;
  std::optional<std::int64_t> known_image() const;
  void try_part(std::int64_t first, std::int64_t count);
  std::optional<WorkResult> next(bool died);
  WorkResult conclude_with_image();
  WorkResult conclude(const std::string& finding);

  TaskExecutor& executor_;
  const std::function<double()> clock_;
  const double patience_s_;
  double started_ = 0;
  std::optional<TileWork> tile_;  // that is being computed
  std::optional<Search> search_;
  std::set<std::pair<std::string, std::int64_t>> found_;  // data set's images, index
};

}  // namespace squant::runner
