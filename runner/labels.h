// Short names of cells, as tables and messages show them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "eval/evaluator.h"
#include "runner/expand.h"

namespace squant::runner {

// "resnet18 w4a4 squant", "resnet18 float".
std::string job_text(const eval::Job& job);

// "resnet18 w4a4 squant", "resnet18 float", "resnet18 w4 squant quantize_time"; where cells of one
// plan differ in more than that, what they differ in follows: "resnet18 w4a4 squant sigma=12".
// Different cells get different labels.
class Labels {
 public:
  Labels(const std::vector<ExpandedCell>& cells, const Experiment& experiment);
  std::string of(const Cell& cell) const;

 private:
  using Details = std::vector<std::string>;  // "sigma=12", one of each kind
  Details details(const Cell& cell) const;

  const Experiment& experiment_;
  std::map<std::string, std::vector<std::set<std::string>>>
      seen_;  // per short label, the details of each kind
};

}  // namespace squant::runner
