#include "runner/experiment_axes.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <stdexcept>
#include <utility>

#include "eval/models/models.h"
#include "runner/wording.h"

namespace squant::runner {
namespace {

constexpr std::int64_t kMaxCalibrationImages = 65'536;
constexpr std::int64_t kDefaultCalibrationImages = 256;  // as published
constexpr double kMaxSigma = 1000;

// The published spans of the activation ranges, the same for all models.
const std::map<int, double> kPublishedSigma = {{4, 12.0}, {6, 14.0}, {8, 25.0}};

constexpr Axis kAxes[kNumAxes] = {
    Axis::kDataset,           Axis::kModel, Axis::kBits, Axis::kMode, Axis::kRounding, Axis::kSigma,
    Axis::kCalibrationImages, Axis::kEngine};

constexpr quant::Mode kModes[] = {quant::Mode::kE, quant::Mode::kEK, quant::Mode::kEC,
                                  quant::Mode::kEKC};
constexpr quant::Rounding kRoundings[] = {quant::Rounding::kCurrent, quant::Rounding::kPaper};

std::vector<std::string> known_models() {
  std::vector<std::string> names;
  for (const eval::ModelInfo& model : eval::all_models()) names.push_back(model.name);
  return names;
}

// The position of `name` in `known`; throws std::invalid_argument with what was probably meant.
std::size_t find_name(const std::string& name, const std::vector<std::string>& known,
                      const std::string& what) {
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end()) {
    throw std::invalid_argument("unknown " + what + " " + in_quotes(name) +
                                suggestion(name, known));
  }
  return static_cast<std::size_t>(found - known.begin());
}

template <typename Enum, std::size_t N>
Enum find_choice(const std::string& name, const Enum (&choices)[N], const char* (*name_of)(Enum),
                 const char* what) {
  std::vector<std::string> known;
  for (const Enum choice : choices) known.emplace_back(name_of(choice));
  return choices[find_name(name, known, what)];
}

}  // namespace

std::span<const Axis> all_axes() { return kAxes; }

bool is_setting(Axis axis) { return axis >= Axis::kMode; }

AxisReader::AxisReader(Experiment& experiment)
    : ValueReader(experiment.path, experiment.problems),
      datasets_(experiment.datasets),
      models_(known_models()),
      default_sigma_{std::nullopt, kPublishedSigma} {}

bool AxisReader::is_model(const std::string& name) const {
  return std::find(models_.begin(), models_.end(), name) != models_.end();
}

void AxisReader::read_settings(const JsonNode& node, const std::string& key) {
  if (!is_object(node, key, "settings")) return;
  for (const Axis axis : all_axes()) {
    if (!is_setting(axis)) continue;
    read_member(node, key, axis_name(axis), [&](const JsonNode& value, const std::string& at) {
      const std::optional<AxisValue> setting = read_value(axis, value, at);
      if (!setting) return;
      settings_[axis] = {*setting};
      if (axis == Axis::kSigma) default_sigma_ = setting->sigma;
    });
  }
}

AxisValues AxisReader::read_axes(const JsonNode& object, const std::string& key) {
  AxisValues axes;
  for (const Axis axis : all_axes()) {
    read_member(object, key, axis_name(axis), [&](const JsonNode& node, const std::string& at) {
      if (node.kind == JsonNode::Kind::kArray && node.items.empty())
        problem(node, at, "is empty: nothing would run");
      std::vector<AxisValue>& values = axes[axis];
      for (const auto& [item, item_key] : elements_of(node, at)) {
        if (std::optional<AxisValue> value = read_value(axis, *item, item_key))
          values.push_back(std::move(*value));
      }
    });
  }
  return axes;
}

std::optional<AxisValue> AxisReader::read_value(Axis axis, const JsonNode& node,
                                                const std::string& key) {
  AxisValue value;
  value.origin = origin(node, key);
  if (axis == Axis::kSigma) {
    const std::optional<Sigma> sigma = read_sigma(node, key);
    if (!sigma) return std::nullopt;
    value.sigma = *sigma;
    return value;
  }
  if (axis == Axis::kCalibrationImages) {
    const std::optional<std::int64_t> count = integer(node, key, 1, kMaxCalibrationImages);
    if (!count) return std::nullopt;
    value.calibration_images = *count;
    return value;
  }
  return read_named_value(axis, std::move(value), node, key);
}

std::optional<AxisValue> AxisReader::read_named_value(Axis axis, AxisValue value,
                                                      const JsonNode& node,
                                                      const std::string& key) {
  const std::optional<std::string> name = text(node, key);
  if (!name) return std::nullopt;
  value.text = *name;
  try {
    switch (axis) {
      case Axis::kDataset: {
        std::vector<std::string> known;
        for (const ExperimentDataset& dataset : datasets_) known.push_back(dataset.name);
        value.dataset = static_cast<int>(find_name(*name, known, "data set"));
        break;
      }
      case Axis::kModel:
        find_name(*name, models_, "model");
        break;
      case Axis::kBits:
        value.bits = parse_bits(*name);
        break;
      case Axis::kMode:
        value.mode = find_choice(*name, kModes, quant::mode_name, "mode");
        break;
      case Axis::kRounding:
        value.rounding = find_choice(*name, kRoundings, quant::rounding_name, "rounding");
        break;
      case Axis::kEngine:
        value.engine = parse_engine_choice(*name);
        break;
      case Axis::kSigma:
      case Axis::kCalibrationImages:
        break;  // numbers
    }
  } catch (const std::invalid_argument& error) {
    problem(node, key, error.what());
    return std::nullopt;
  }
  return value;
}

// Widths that are not named keep the value of the level above.
std::optional<Sigma> AxisReader::read_sigma(const JsonNode& node, const std::string& key) {
  if (node.is_number()) {
    const std::optional<double> fixed = positive_number(node, key, kMaxSigma);
    if (!fixed) return std::nullopt;
    return Sigma{fixed, {}};
  }
  if (node.kind != JsonNode::Kind::kObject) {
    problem(node, key,
            "must be a number, or an object with one per width (\"4\": 12), is " + describe(node));
    return std::nullopt;
  }
  Sigma sigma = default_sigma_;
  for (const JsonNode& value : node.members) {
    const std::string& name = value.key;
    const std::string at = child_key(key, name);
    const int width = name.size() == 1 ? name[0] - '0' : 0;
    if (width < quant::kMinBits || width > quant::kMaxBits) {
      problem(value, at, "unknown width of activations; known: 2 to 8");
    } else if (const std::optional<double> parsed = positive_number(value, at, kMaxSigma)) {
      if (sigma.fixed) sigma = Sigma{};
      sigma.per_bits[width] = *parsed;
    }
  }
  return sigma;
}

std::optional<AxisValue> AxisReader::default_value(Axis axis, Measure measure, const JsonNode& node,
                                                   const std::string& key) {
  if (const auto setting = settings_.find(axis); setting != settings_.end())
    return setting->second.front();
  AxisValue value;
  value.origin = origin(node, key);
  switch (axis) {
    case Axis::kDataset:
      return default_dataset(measure, node, key);
    case Axis::kModel:
    case Axis::kBits:
      problem(node, key, "'" + std::string(axis_name(axis)) + "' is missing");
      return std::nullopt;
    case Axis::kMode:
      value.text = quant::mode_name(value.mode);
      break;
    case Axis::kRounding:
      value.text = quant::rounding_name(value.rounding);
      break;
    case Axis::kSigma:
      value.sigma = default_sigma_;
      break;
    case Axis::kCalibrationImages:
      value.calibration_images = kDefaultCalibrationImages;
      break;
    case Axis::kEngine:
      value.text = engine_choice_name(value.engine);
      break;
  }
  return value;
}

std::optional<AxisValue> AxisReader::default_dataset(Measure measure, const JsonNode& node,
                                                     const std::string& key) {
  AxisValue value;
  value.origin = origin(node, key);
  if (measure == Measure::kQuantizeTime) {
    value.dataset = -1;
    return value;
  }
  if (datasets_.size() == 1) {
    value.text = datasets_.front().name;
    return value;
  }
  if (!datasets_.empty()) {
    problem(node, key, "'dataset' is missing: there are several");
  } else if (!dataset_missing_said_) {
    problem(node, key, "there is no data set to evaluate on: give 'dataset'");
    dataset_missing_said_ = true;
  }
  return std::nullopt;
}

}  // namespace squant::runner
