#include "runner/filter.h"

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "eval/models/models.h"
#include "runner/wording.h"

namespace squant::runner {
namespace {

constexpr const char* kMeasureKey = "measure";

std::vector<std::string> known_keys() {
  std::vector<std::string> keys;
  for (int i = 0; i < kNumAxes; ++i) keys.emplace_back(axis_name(static_cast<Axis>(i)));
  keys.emplace_back(kMeasureKey);
  return keys;
}

// The names an axis can take; empty: numbers.
std::vector<std::string> known_values(const std::optional<Axis>& axis,
                                      const Experiment& experiment) {
  if (!axis) return {measure_name(Measure::kEvaluate), measure_name(Measure::kQuantizeTime)};
  std::vector<std::string> names;
  switch (*axis) {
    case Axis::kDataset:
      for (const ExperimentDataset& dataset : experiment.datasets) names.push_back(dataset.name);
      break;
    case Axis::kModel:
      for (const eval::ModelInfo& model : eval::all_models()) names.push_back(model.name);
      break;
    case Axis::kMode:
      names = {"float", "squant-e", "squant-k", "squant-c", "squant"};
      break;
    case Axis::kRounding:
      names = {"current", "paper"};
      break;
    case Axis::kEngine:
      names = {"auto", "simulated"};
      break;
    case Axis::kBits:
    case Axis::kSigma:
    case Axis::kCalibrationImages:
      break;
  }
  return names;
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> pieces;
  std::size_t at = 0;
  for (;;) {
    const std::size_t end = text.find(separator, at);
    pieces.push_back(trimmed(text.substr(at, end - at)));
    if (end == std::string::npos) return pieces;
    at = end + separator.size();
  }
}

}  // namespace

Filter::Filter(const std::string& source, const std::string& expression,
               const Experiment& experiment)
    : text_(source + " " + expression) {
  parse(expression, experiment);
}

void Filter::parse(const std::string& expression, const Experiment& experiment) {
  for (const std::string& part : split(expression, " and ")) {
    for (const std::string& piece : split(part, ",")) {
      if (piece.find('=') != std::string::npos) {
        parse_condition(piece, experiment);
      } else if (conditions_.empty() || piece.empty()) {
        fail("must be KEY=VALUE or KEY!=VALUE, as in bits=w4a4,w3");
      } else {
        conditions_.back().values.push_back(checked_value(conditions_.back(), piece, experiment));
      }
    }
  }
}

void Filter::parse_condition(const std::string& piece, const Experiment& experiment) {
  const std::size_t equals = piece.find('=');
  Condition condition;
  condition.negated = equals > 0 && piece[equals - 1] == '!';
  const std::string key = trimmed(piece.substr(0, condition.negated ? equals - 1 : equals));
  const std::vector<std::string> keys = known_keys();
  const auto found = std::find(keys.begin(), keys.end(), key);
  if (found == keys.end()) fail("unknown key " + in_quotes(key) + suggestion(key, keys));
  if (key != kMeasureKey) condition.axis = static_cast<Axis>(found - keys.begin());
  condition.values.push_back(
      checked_value(condition, trimmed(piece.substr(equals + 1)), experiment));
  conditions_.push_back(std::move(condition));
}

std::string Filter::checked_value(const Condition& condition, const std::string& value,
                                  const Experiment& experiment) const {
  const std::string key = condition.axis ? axis_name(*condition.axis) : kMeasureKey;
  if (value.empty()) fail("'" + key + "' has no value");
  if (condition.axis == Axis::kBits) {
    try {
      return parse_bits(value).text();
    } catch (const std::invalid_argument& error) {
      fail("'bits' " + std::string(error.what()));
    }
  }
  const std::vector<std::string> names = known_values(condition.axis, experiment);
  if (names.empty()) {
    double number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{} || end != value.data() + value.size())
      fail("'" + key + "' must be a number, is " + in_quotes(value));
    return number_text(number);
  }
  if (std::find(names.begin(), names.end(), value) == names.end()) {
    fail("'" + key + "' is never " + in_quotes(value) + suggestion(value, names));
  }
  return value;
}

void Filter::fail(const std::string& what) const {
  throw ExperimentError({{{text_, 0, ""}, what}});
}

bool Filter::matches(const Cell& cell, const Experiment& experiment) const {
  return std::all_of(conditions_.begin(), conditions_.end(), [&](const Condition& condition) {
    const std::string says =
        condition.axis ? cell_text(cell, *condition.axis, experiment) : measure_name(cell.measure);
    const bool any =
        std::find(condition.values.begin(), condition.values.end(), says) != condition.values.end();
    return any != condition.negated;
  });
}

}  // namespace squant::runner
