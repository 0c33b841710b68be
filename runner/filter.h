// Which cells of a plan run: the expressions of --only, --where and --exclude-where.
//
//   expression = condition { ("," | " and ") condition }       all conditions must hold
//   condition  = key ("=" | "!=") value { "," value }          one of the values; none of them
// Keys are those of a matrix: dataset, model, bits, mode, rounding, sigma, calibration_images,
// engine; and measure. A float network's mode is "float"; of what does not apply to a cell (its
// sigma, say) no value is equal.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runner/expand.h"
#include "runner/experiment.h"

namespace squant::runner {

class Filter {
 public:
  // `source` is the option as in messages, "--where". Throws ExperimentError for a malformed
  // expression, an unknown key, or a value that the key cannot have in any experiment, with what
  // was probably meant.
  Filter(const std::string& source, const std::string& expression, const Experiment& experiment);

  bool matches(const Cell& cell, const Experiment& experiment) const;
  const std::string& text() const { return text_; }  // "--where bits=w4a4,w3"

 private:
  struct Condition {
    std::optional<Axis> axis;  // none: the measure
    bool negated = false;
    std::vector<std::string> values;
  };

  void parse(const std::string& expression, const Experiment& experiment);
  void parse_condition(const std::string& piece, const Experiment& experiment);
  std::string checked_value(const Condition& condition, const std::string& value,
                            const Experiment& experiment) const;
  [[noreturn]] void fail(const std::string& what) const;

  std::string text_;
  std::vector<Condition> conditions_;
};

}  // namespace squant::runner
