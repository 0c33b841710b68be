// An experiment file; what follows a NUL byte is a --set and, behind another one, a --where.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runner/expand.h"
#include "runner/experiment.h"
#include "runner/filter.h"

namespace {

// Takes the text up to the next NUL byte off the front.
std::string next_part(std::string& rest) {
  const std::size_t end = rest.find('\0');
  std::string part = rest.substr(0, end);
  rest.erase(0, end == std::string::npos ? end : end + 1);
  return part;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace squant::runner;
  std::string rest(reinterpret_cast<const char*>(data), size);
  const std::string text = next_part(rest);
  std::vector<std::string> overrides;
  if (!rest.empty()) overrides.push_back(next_part(rest));
  try {
    const Experiment experiment = parse_experiment(text, "fuzz/e.json", overrides);
    for (const Problem& problem : experiment.problems) problem.text();
    if (size > 2048) return 0;  // larger ones may have a million cells, which takes its time
    std::vector<Problem> problems;
    const std::vector<ExpandedCell> cells = expand(experiment, problems);
    if (rest.empty()) return 0;
    const Filter filter("--where", rest, experiment);
    for (const ExpandedCell& cell : cells) filter.matches(cell.cell, experiment);
  } catch (
      const ExperimentError& error) {  // the one answer to bad input; anything else is a finding
    for (const Problem& problem : error.problems()) problem.text();
  }
  return 0;
}
