// Reference files: the values that results are compared with.
//
//   {"source": "SQuant, ICLR 2022, tables 1-3", "tolerance": 0.2,
//    "values": [{"model": "resnet18", "bits": "w4a4", "mode": "squant", "top1": 66.14, "source":
//    "table 1"}, ...]}
// `mode` is "float" for bits "float". `source` and `tolerance` of a value default to the file's.
// The value of a model's float network is also the baseline of its other values. `note` may stand
// in both places, `$schema` in the file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "results/rows.h"

namespace squant::results {

class Reference {
 public:
  // Throws std::invalid_argument with a line "PATH:LINE: key: what" for each thing that is wrong;
  // unknown keys are errors.
  static Reference load(const std::string& path);
  // No value: the verdict is "no reference".
  std::optional<ReferenceValue> find(const std::string& model, const std::string& bits,
                                     const std::string& mode) const;
  // Replaces the tolerance of every value (an experiment's own).
  void set_tolerance(double percentage_points);

 private:
  struct Entry {
    std::string model, bits, mode;
    ReferenceValue value;
  };
  std::vector<Entry> entries_;
};

}  // namespace squant::results
