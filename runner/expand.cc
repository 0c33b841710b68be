#include "runner/expand.h"

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runner/wording.h"

namespace squant::runner {
namespace {

// The chosen value of each axis; nullptr while it is not chosen.
struct Choice {
  const AxisValue* values[kNumAxes] = {};

  const AxisValue& operator[](Axis axis) const { return *values[static_cast<std::size_t>(axis)]; }
  void choose(const AxisValues& axes, std::size_t index) {
    for (const auto& [axis, list] : axes) values[static_cast<std::size_t>(axis)] = &list[index];
  }
};

bool applies(Axis axis, const Bits& bits, Measure measure) {
  switch (axis) {
    case Axis::kModel:
    case Axis::kBits:
      return true;
    case Axis::kDataset:
      return measure == Measure::kEvaluate;
    case Axis::kMode:
    case Axis::kRounding:
      return bits.weight > 0;
    case Axis::kSigma:
    case Axis::kCalibrationImages:
    case Axis::kEngine:
      break;
  }
  return bits.activation > 0;
}

// Axes that are walked together: one axis alone, or a zip.
struct Group {
  AxisValues axes;
  std::size_t size() const { return axes.begin()->second.size(); }
};

std::vector<Group> groups_of(const ExperimentMatrix& matrix) {
  std::vector<Group> groups;
  for (const auto& [axis, values] : matrix.axes) groups.push_back({{{axis, values}}});
  for (const AxisValues& zip : matrix.zips) {
    if (!zip.empty()) groups.push_back({zip});
  }
  std::stable_sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return a.axes.begin()->first < b.axes.begin()->first;
  });
  return groups;
}

// Saturates above kMaxCells.
std::int64_t count_cells(const std::vector<Group>& groups) {
  std::int64_t count = groups.empty() ? 0 : 1;
  for (const Group& group : groups) {
    const auto size = static_cast<std::int64_t>(std::min<std::size_t>(group.size(), kMaxCells + 1));
    count = std::min(count * size, kMaxCells + 1);
  }
  return count;
}

class Expander {
 public:
  Expander(const Experiment& experiment, std::vector<Problem>& problems)
      : experiment_(experiment), problems_(problems) {}

  std::vector<ExpandedCell> run() {
    for (std::size_t i = 0; i < experiment_.matrices.size(); ++i) {
      const ExperimentMatrix& matrix = experiment_.matrices[i];
      walk(matrix, static_cast<int>(i), groups_of(matrix), &matrix.exclude);
      for (const AxisValues& axes : matrix.include) {
        ExperimentMatrix alone;
        alone.axes = axes;
        walk(matrix, static_cast<int>(i), groups_of(alone), nullptr);
      }
    }
    return std::move(cells_);
  }

 private:
  void walk(const ExperimentMatrix& matrix, int index, const std::vector<Group>& groups,
            const std::vector<AxisValues>* exclude) {
    const std::int64_t count = count_cells(groups);
    walked_ = std::min(walked_ + count, 2 * kMaxCells);
    if (walked_ > kMaxCells) {
      if (!too_many_said_)
        problems_.push_back(
            {matrix.origin, "more than 1,000,000 cells: the limit of one experiment"});
      too_many_said_ = true;
      return;
    }
    std::vector<std::size_t> at(groups.size(), 0);
    for (std::int64_t i = 0; i < count; ++i) {
      add(matrix, index, groups, at, exclude);
      for (std::size_t g = groups.size(); g-- > 0;) {  // the last varies fastest
        if (++at[g] < groups[g].size()) break;
        at[g] = 0;
      }
    }
  }

  void add(const ExperimentMatrix& matrix, int index, const std::vector<Group>& groups,
           const std::vector<std::size_t>& at, const std::vector<AxisValues>* exclude) {
    Choice choice;
    for (std::size_t g = 0; g < groups.size(); ++g) choice.choose(groups[g].axes, at[g]);
    const Bits bits = choice[Axis::kBits].bits;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      // Of values that make no difference here, the first stands for all.
      const bool any = std::any_of(
          groups[g].axes.begin(), groups[g].axes.end(),
          [&](const auto& entry) { return applies(entry.first, bits, matrix.measure); });
      if (!any && at[g] > 0) return;
    }
    ExpandedCell expanded;
    expanded.matrix = index;
    expanded.origin = choice[Axis::kModel].origin;
    if (!make_cell(matrix, choice, expanded.cell)) return;
    if (exclude != nullptr) expanded.excluded = exclusion(matrix, *exclude, expanded.cell);
    cells_.push_back(std::move(expanded));
  }

  bool make_cell(const ExperimentMatrix& matrix, const Choice& choice, Cell& cell) {
    cell.measure = matrix.measure;
    cell.model = choice[Axis::kModel].text;
    cell.bits = choice[Axis::kBits].bits;
    if (applies(Axis::kDataset, cell.bits, cell.measure))
      cell.dataset = choice[Axis::kDataset].dataset;
    if (cell.measure == Measure::kQuantizeTime) {
      cell.repeats = matrix.repeats;
      if (cell.bits.weight == 0) {
        return impossible(
            choice[Axis::kBits].origin,
            "'float' has no time to quantize: leave it out where 'measure' is 'quantize_time'");
      }
    }
    if (cell.bits.weight > 0) {
      cell.mode = choice[Axis::kMode].mode;
      cell.rounding = choice[Axis::kRounding].rounding;
    }
    if (cell.bits.activation > 0) {
      const AxisValue& sigma = choice[Axis::kSigma];
      const std::optional<double> found = sigma.sigma.of(cell.bits.activation);
      const std::string width = std::to_string(cell.bits.activation);
      if (!found) {
        return impossible(choice[Axis::kBits].origin,
                          "no sigma is known for " + width +
                              "-bit activations: give 'settings.sigma." + width + "'");
      }
      cell.sigma = *found;
      cell.calibration_images = choice[Axis::kCalibrationImages].calibration_images;
      cell.engine = choice[Axis::kEngine].engine;
    }
    return true;
  }

  // Says each thing once, however many cells it concerns. Always false.
  bool impossible(const Origin& origin, const std::string& what) {
    Problem problem{origin, what};
    if (said_.insert(problem.text()).second) problems_.push_back(std::move(problem));
    return false;
  }

  std::string exclusion(const ExperimentMatrix& matrix, const std::vector<AxisValues>& exclude,
                        const Cell& cell) const {
    for (std::size_t i = 0; i < exclude.size(); ++i) {
      const bool all = std::all_of(exclude[i].begin(), exclude[i].end(), [&](const auto& entry) {
        return any_matches(entry.second, entry.first, cell);
      });
      if (all && !exclude[i].empty()) {
        return "excluded by " + matrix.key + ".exclude[" + std::to_string(i) + "]";
      }
    }
    return "";
  }

  bool any_matches(const std::vector<AxisValue>& values, Axis axis, const Cell& cell) const {
    const std::string says = cell_text(cell, axis, experiment_);
    return std::any_of(values.begin(), values.end(), [&](const AxisValue& value) {
      if (says.empty()) return false;  // does not apply
      if (axis == Axis::kSigma) return value.sigma.of(cell.bits.activation) == cell.sigma;
      if (axis == Axis::kCalibrationImages)
        return value.calibration_images == cell.calibration_images;
      return value.text == says;
    });
  }

  const Experiment& experiment_;
  std::vector<Problem>& problems_;
  std::vector<ExpandedCell> cells_;
  std::set<std::string> said_;
  std::int64_t walked_ = 0;
  bool too_many_said_ = false;
};

}  // namespace

std::string cell_text(const Cell& cell, Axis axis, const Experiment& experiment) {
  switch (axis) {
    case Axis::kDataset:
      return cell.dataset < 0 ? ""
                              : experiment.datasets[static_cast<std::size_t>(cell.dataset)].name;
    case Axis::kModel:
      return cell.model;
    case Axis::kBits:
      return cell.bits.text();
    case Axis::kMode:
      return cell.bits.weight == 0 ? "float" : quant::mode_name(cell.mode);
    case Axis::kRounding:
      return cell.bits.weight == 0 ? "" : quant::rounding_name(cell.rounding);
    case Axis::kSigma:
      return cell.bits.activation == 0 ? "" : number_text(cell.sigma);
    case Axis::kCalibrationImages:
      return cell.bits.activation == 0 ? "" : std::to_string(cell.calibration_images);
    case Axis::kEngine:
      break;
  }
  return cell.bits.activation == 0 ? "" : engine_choice_name(cell.engine);
}

std::vector<ExpandedCell> expand(const Experiment& experiment, std::vector<Problem>& problems) {
  return Expander(experiment, problems).run();
}

}  // namespace squant::runner
