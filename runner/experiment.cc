#include "runner/experiment.h"

#include <array>
#include <cstddef>
#include <utility>

#include "runner/wording.h"

namespace squant::runner {
namespace {

std::string join_problems(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& problem : problems) text += (text.empty() ? "" : "\n") + problem.text();
  return text;
}

}  // namespace

std::string Problem::text() const {
  std::string text = origin.source;
  if (origin.line > 0) text += ":" + std::to_string(origin.line);
  if (!origin.key.empty()) text += ": " + printable(origin.key, 200);
  return text + ": " + what;
}

ExperimentError::ExperimentError(std::vector<Problem> problems)
    : std::invalid_argument(join_problems(problems)), problems_(std::move(problems)) {}

std::string Bits::text() const {
  if (weight == 0) return "float";
  return "w" + std::to_string(weight) + (activation == 0 ? "" : "a" + std::to_string(activation));
}

Bits parse_bits(const std::string& text) {
  const auto width = [&](std::size_t at) { return text[at] - '0'; };
  const auto is_width = [&](std::size_t at) {
    return text[at] >= '0' && text[at] <= '9' && width(at) >= quant::kMinBits &&
           width(at) <= quant::kMaxBits;
  };
  if (text == "float") return {};
  if (text.size() == 2 && text[0] == 'w' && is_width(1)) return {width(1), 0};
  if (text.size() == 4 && text[0] == 'w' && is_width(1) && text[2] == 'a' && is_width(3))
    return {width(1), width(3)};
  throw std::invalid_argument(
      "must be 'float', 'wW' (weights only) or 'wWaA' with W and A from 2 to 8, is " +
      in_quotes(text));
}

const char* engine_choice_name(eval::EngineChoice engine) {
  return engine == eval::EngineChoice::kAuto ? "auto" : "simulated";
}

eval::EngineChoice parse_engine_choice(const std::string& name) {
  if (name == "auto") return eval::EngineChoice::kAuto;
  if (name == "simulated") return eval::EngineChoice::kSimulated;
  throw std::invalid_argument("unknown engine " + in_quotes(name) +
                              suggestion(name, {"auto", "simulated"}));
}

const char* measure_name(Measure measure) {
  return measure == Measure::kEvaluate ? "evaluate" : "quantize_time";
}

std::optional<double> Sigma::of(int activation_bits) const {
  if (fixed) return fixed;
  const auto found = per_bits.find(activation_bits);
  if (found == per_bits.end()) return std::nullopt;
  return found->second;
}

const char* axis_name(Axis axis) {
  static constexpr std::array<const char*, kNumAxes> kNames = {
      "dataset", "model", "bits", "mode", "rounding", "sigma", "calibration_images", "engine"};
  return kNames[static_cast<std::size_t>(axis)];
}

}  // namespace squant::runner
