#include "runner/labels.h"

#include <cstddef>

namespace squant::runner {
namespace {

std::string short_label(const Cell& cell) {
  std::string label = cell.model + " " + cell.bits.text();
  if (cell.bits.weight > 0) label.append(" ").append(quant::mode_name(cell.mode));
  if (cell.measure == Measure::kQuantizeTime) label.append(" ").append(measure_name(cell.measure));
  return label;
}

}  // namespace

std::string job_text(const eval::Job& job) {
  const Bits bits{job.weight_bits, job.activation_bits};
  std::string text = job.model + " " + bits.text();
  if (bits.weight > 0) text.append(" ").append(quant::mode_name(job.mode));
  return text;
}

Labels::Labels(const std::vector<ExpandedCell>& cells, const Experiment& experiment)
    : experiment_(experiment) {
  for (const ExpandedCell& expanded : cells) {
    const Details parts = details(expanded.cell);
    std::vector<std::set<std::string>>& seen = seen_[short_label(expanded.cell)];
    seen.resize(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) seen[i].insert(parts[i]);
  }
}

Labels::Details Labels::details(const Cell& cell) const {
  Details parts;
  for (const Axis axis :
       {Axis::kDataset, Axis::kRounding, Axis::kSigma, Axis::kCalibrationImages, Axis::kEngine}) {
    parts.push_back(std::string(axis_name(axis)) + "=" + cell_text(cell, axis, experiment_));
  }
  parts.push_back("repeats=" + std::to_string(cell.repeats));
  return parts;
}

std::string Labels::of(const Cell& cell) const {
  std::string label = short_label(cell);
  const Details parts = details(cell);
  const auto found = seen_.find(label);
  for (std::size_t i = 0; found != seen_.end() && i < parts.size(); ++i) {
    if (found->second[i].size() > 1 && !parts[i].ends_with("=")) label += " " + parts[i];
  }
  return label;
}

}  // namespace squant::runner
