#include "results/cells.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace squant::results {
namespace {

constexpr std::array kModes = {"float", "squant-e", "squant-k", "squant-c", "squant"};
constexpr std::string_view kPrefix = "squant";

}  // namespace

BitsOrder bits_order(const JobRow& job) {
  const int kind = job.weight_bits == 0 ? 0 : job.activation_bits > 0 ? 1 : 2;
  return {kind, job.weight_bits, job.activation_bits, job.bits};
}

ModeOrder mode_order(const std::string& mode) {
  const auto found = std::find(kModes.begin(), kModes.end(), mode);
  return {static_cast<std::size_t>(found - kModes.begin()), mode};
}

std::string method_name(const std::string& mode) {
  if (mode == "float") return "Baseline";
  if (!mode.starts_with(kPrefix)) return mode;
  std::string name = "SQuant" + mode.substr(kPrefix.size());
  if (name.size() == kPrefix.size() + 2)  // one letter for the stage
    name.back() = static_cast<char>(std::toupper(static_cast<unsigned char>(name.back())));
  return name;
}

}  // namespace squant::results
