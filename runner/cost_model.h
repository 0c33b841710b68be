// What an image costs: learned from finished tiles, per job and per worker. Used to size tiles and
// to say how long the rest will take; no result depends on it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace squant::runner {

class CostModel {
 public:
  // `models[j]` is the model of job j: a job that was never measured is expected to cost what its
  // model costs.
  explicit CostModel(std::vector<int> models);

  // Seconds that `worker` is expected to need for one image of `job`; none before anything was
  // measured.
  std::optional<double> expected_s(int job, int worker) const;
  std::optional<double> image_s(int job) const;  // the same of a worker of slowness 1
  // Its time over that of some imagined worker; 1 before anything was measured.
  double slowness(int worker) const;
  // `seconds` of `worker` for `images` images of `job`, loading not included.
  void measured(int job, int worker, std::int64_t images, double seconds);

  // Work left, in images of each job.
  void add_remaining(int job, std::int64_t images);
  // Seconds that a worker of slowness 1 is expected to need for all of it; 0 before anything was
  // measured.
  double remaining_s() const;

 private:
  struct JobCost {
    int model = 0;
    double image_s = 0;  // 0: unknown
    std::int64_t remaining = 0;
  };
  std::vector<JobCost> jobs_;
  std::map<int, double> model_image_s_;
  struct WorkerCost {
    double slowness = 1;
    int num_samples = 0;
  };
  std::map<int, WorkerCost> workers_;
  double any_image_s_ = 0;
  double known_remaining_s_ = 0;        // over jobs with a known cost
  std::int64_t unknown_remaining_ = 0;  // images of the others
};

}  // namespace squant::runner
