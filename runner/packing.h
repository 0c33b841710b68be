// --broadcast-images: the coordinator's node packs the images that the sweep needs, in a child
// process, before the sweep begins; workers get the packs as they get checkpoints.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "runner/child_executor.h"
#include "runner/inventory.h"
#include "runner/plan.h"

namespace squant::runner {

// Images of a data set of the plan, scaled for networks of one input shape.
struct PackedDataset {
  int dataset = 0;  // index into Plan::datasets
  eval::Shape shape;
  std::string name;  // for people: "images imagenet 224x224"
  eval::ImagePack pack;
};

class ImagePacker {
 public:
  // `spawner` must outlive it. `folder`: where packs go.
  ImagePacker(Spawner& spawner, ChildExecutorOptions options, std::string folder);

  // The packs that unfinished jobs need.
  void begin(const Plan& plan, const std::vector<JobInventory>& inventory);
  // Returns whether all are there. Throws std::invalid_argument where one cannot be made.
  bool step();
  void wait(double seconds) { executor_.wait(seconds); }

  const std::vector<PackedDataset>& packs() const { return packs_; }

 private:
  struct Order {
    PackedDataset target;
    PackingWork work;
    int deaths = 0;  // of processes that were at it
  };
  void finish(WorkResult result);

  ChildExecutor executor_;
  std::string folder_;
  std::deque<Order> orders_;  // the first is at work
  std::vector<PackedDataset> packs_;
};

}  // namespace squant::runner
