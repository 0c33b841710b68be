// The axes of a matrix: their values, the settings, and the defaults of both.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runner/experiment_values.h"

namespace squant::runner {

// In the order of expansion.
std::span<const Axis> all_axes();
bool is_setting(Axis axis);  // may it stand in `settings`?

class AxisReader : public ValueReader {
 public:
  // Data sets must be read before any axis is.
  explicit AxisReader(Experiment& experiment);

  bool is_model(const std::string& name) const;
  const std::vector<std::string>& models() const { return models_; }

  void read_settings(const JsonNode& node, const std::string& key);

  // The axes that stand in this object. Values that are wrong are left out.
  AxisValues read_axes(const JsonNode& object, const std::string& key);

  // The value of an axis that is not given at `node`. None: it must be, which is a problem then.
  std::optional<AxisValue> default_value(Axis axis, Measure measure, const JsonNode& node,
                                         const std::string& key);

 private:
  std::optional<AxisValue> read_value(Axis axis, const JsonNode& node, const std::string& key);
  std::optional<AxisValue> read_named_value(Axis axis, AxisValue value, const JsonNode& node,
                                            const std::string& key);
  std::optional<Sigma> read_sigma(const JsonNode& node, const std::string& key);
  std::optional<AxisValue> default_dataset(Measure measure, const JsonNode& node,
                                           const std::string& key);

  const std::vector<ExperimentDataset>& datasets_;
  const std::vector<std::string> models_;
  AxisValues settings_;
  Sigma default_sigma_;
  bool dataset_missing_said_ = false;
};

}  // namespace squant::runner
